//! Lists that grow by what they need. Most profiles have one participant, one address, one send under way: the usual
//! first growth to four would cost each of millions in memory more than the rest of the profile.

/// Adds `item` at the end.
pub(crate) fn push<T>(list: &mut Vec<T>, item: T) {
    insert(list, list.len(), item);
}

/// Adds `item` before the one at `at`. Room grows by a half, so that long lists are not copied for each item.
pub(crate) fn insert<T>(list: &mut Vec<T>, at: usize, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(1 + list.len() / 2);
    }
    list.insert(at, item);
}

/// Gives back the room of a list that is empty for now.
pub(crate) fn release<T>(list: &mut Vec<T>) {
    if list.is_empty() {
        *list = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lists_have_no_spare_room_and_long_ones_grow_by_a_half() {
        let mut list = Vec::new();
        let rooms: Vec<usize> = (0..8)
            .map(|number| {
                push(&mut list, number);
                list.capacity()
            })
            .collect();
        assert_eq!(rooms, [1, 2, 4, 4, 7, 7, 7, 11]);
        list.clear();
        release(&mut list);
        assert_eq!(list.capacity(), 0);
    }
}
