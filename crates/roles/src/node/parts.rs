//! Lists that are to be agreed are cut into parts, so that no command grows with the size of a region.

use dwcp_types::{Wire, encode};

use super::Node;

/// Bytes of a part at most.
const PART_BYTES: u64 = 128 << 10;

impl Node {
    /// Cuts a list in its order into parts that fit into a proposal each, whatever else the command holds.
    pub(super) fn parts<T: Wire>(&self, items: Vec<T>) -> Vec<Vec<T>> {
        cut(items, (self.config.consensus.max_proposal_bytes / 2).min(PART_BYTES))
    }
}

/// A part is longer than `part_bytes` only when a single item is.
fn cut<T: Wire>(items: Vec<T>, part_bytes: u64) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for item in items {
        let bytes = encode(&item).len() as u64;
        match parts.last_mut() {
            Some(part) if bytes <= room => {
                room -= bytes;
                part.push(item);
            }
            _ => {
                room = part_bytes.saturating_sub(bytes);
                parts.push(vec![item]);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_list_is_cut_in_its_order_and_nothing_is_left_out() {
        let items: Vec<u64> = (0..100).collect();
        let parts = cut(items.clone(), 7);
        assert!(parts.iter().all(|part| part.len() <= 7), "{parts:?}");
        assert_eq!(parts.len(), 15);
        assert_eq!(parts.concat(), items);
        assert_eq!(cut(Vec::<u64>::new(), 7), Vec::<Vec<u64>>::new());
    }

    #[test]
    fn what_is_too_long_for_a_part_is_one_by_itself() {
        let items = vec!["a".to_string(), "b".repeat(90), "c".to_string()];
        assert_eq!(cut(items.clone(), 10).concat(), items);
        assert_eq!(cut(items, 10).len(), 3);
    }
}
