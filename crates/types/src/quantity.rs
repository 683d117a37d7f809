//! Quantities with their units.

/// What a VM takes and a host has: virtual CPUs, memory in MiB, disk in GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Amount {
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk in GiB.
    pub disk_gib: u64,
}

impl Amount {
    /// Component-wise sum, saturating.
    pub fn plus(self, other: Amount) -> Amount {
        Amount {
            vcpus: self.vcpus.saturating_add(other.vcpus),
            memory_mib: self.memory_mib.saturating_add(other.memory_mib),
            disk_gib: self.disk_gib.saturating_add(other.disk_gib),
        }
    }

    /// Component-wise difference, never below zero.
    pub fn minus(self, other: Amount) -> Amount {
        Amount {
            vcpus: self.vcpus.saturating_sub(other.vcpus),
            memory_mib: self.memory_mib.saturating_sub(other.memory_mib),
            disk_gib: self.disk_gib.saturating_sub(other.disk_gib),
        }
    }

    /// True when every component is at most `room`'s.
    pub fn fits(self, room: Amount) -> bool {
        self.vcpus <= room.vcpus && self.memory_mib <= room.memory_mib && self.disk_gib <= room.disk_gib
    }
}

/// How much a VM matters, 0 (least) to 100 (most).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u8);

impl Priority {
    /// The named levels: critical 100, high 75, normal 50, low 25.
    pub const NAMED: [(&'static str, u8); 4] = [("critical", 100), ("high", 75), ("normal", 50), ("low", 25)];
}

impl Default for Priority {
    fn default() -> Self {
        Priority(50)
    }
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Self::NAMED.iter().find(|(_, level)| *level == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl std::str::FromStr for Priority {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, level)) = Self::NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(Priority(*level));
        }
        match text.parse::<u8>() {
            Ok(level) if level <= 100 => Ok(Priority(level)),
            _ => Err(format!("priority `{text}` is not critical, high, normal, low or 0-100")),
        }
    }
}
