//! Distances on the earth.

use std::f32::consts::FRAC_PI_2;

use super::Place;

/// Mean radius of the earth, km.
const RADIUS_KM: f32 = 6_371.0;

/// A place as the point of a sphere of radius 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    x: f32,
    y: f32,
    z: f32,
}

impl Default for Point {
    fn default() -> Self {
        Point::NOWHERE
    }
}

impl Point {
    /// Nowhere: every distance to it is unknown.
    pub const NOWHERE: Point = Point { x: f32::NAN, y: f32::NAN, z: f32::NAN };

    /// Nowhere when no place is given.
    pub fn of(place: Option<Place>) -> Point {
        let Some(place) = place else { return Point::NOWHERE };
        let (north, east) = (place.latitude.to_radians(), place.longitude.to_radians());
        Point { x: north.cos() * east.cos(), y: north.cos() * east.sin(), z: north.sin() }
    }

    pub fn is_known(self) -> bool {
        !(self.x + self.y + self.z).is_nan()
    }

    /// Along the surface, to 2 km; not a number when one of them is unknown.
    pub fn distance_km(self, other: Point) -> f32 {
        let (x, y, z) = (self.x - other.x, self.y - other.y, self.z - other.z);
        let half_chord = (x * x + y * y + z * z).sqrt() / 2.0;
        2.0 * RADIUS_KM * arcsine(if half_chord > 1.0 { 1.0 } else { half_chord })
    }
}

/// From 0 to 1, to 0.0001 (Abramowitz and Stegun, 4.4.45): faster than the exact one, and the same on every machine.
fn arcsine(x: f32) -> f32 {
    let slope = ((-0.018_729_3 * x + 0.074_261) * x - 0.212_114_4) * x + FRAC_PI_2;
    FRAC_PI_2 - (1.0 - x).sqrt() * slope
}

/// A round trip over a distance: 100 km a millisecond there and back, and 5 ms at both ends.
pub(super) fn rtt_ms(distance_km: f32) -> f32 {
    distance_km / 100.0 + 5.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_on_the_earth() {
        let at = |latitude, longitude| Point::of(Some(Place { latitude, longitude }));
        let (london, sydney) = (at(51.5, -0.13), at(-33.87, 151.21));
        assert!((london.distance_km(sydney) - 16_993.0).abs() < 5.0, "{}", london.distance_km(sydney));
        assert_eq!(london.distance_km(london), 0.0);
        assert!((at(90.0, 0.0).distance_km(at(-90.0, 50.0)) - 20_015.0).abs() < 5.0);
        assert!(london.distance_km(Point::NOWHERE).is_nan());
        for step in 0..=1_000 {
            let x = step as f32 / 1_000.0;
            assert!((arcsine(x) - x.asin()).abs() < 1.5e-4 && arcsine(x) >= 0.0, "{x}");
        }
    }
}
