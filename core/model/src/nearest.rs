//! The nearest known name to a mistyped one, for errors that teach (E9).

/// The candidate with the smallest edit distance to `name`, if it is at most two or a third of its length away.
///
/// It is asked for every event whose trigger nobody knows: a candidate that cannot be near enough costs a comparison of
/// lengths, and one that turns out not to be is given up as soon as that shows.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.chars().collect();
    let mut limit = (name.len() / 3).max(2);
    let mut found: Option<(usize, &'a str)> = None;
    let mut row = Vec::new();
    for candidate in candidates {
        let Some(distance) = distance_within(&name, candidate, limit, &mut row) else { continue };
        if found.is_none_or(|best| (distance, candidate) < best) {
            found = Some((distance, candidate));
            limit = distance;
        }
    }
    found.map(|(_, candidate)| candidate)
}

/// Levenshtein's distance in characters; None when it is more than `limit`. `row` is room to work in.
fn distance_within(name: &[char], candidate: &str, limit: usize, row: &mut Vec<usize>) -> Option<usize> {
    if candidate.chars().count().abs_diff(name.len()) > limit {
        return None;
    }
    row.clear();
    row.extend(0..=name.len());
    for (i, from) in candidate.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        let mut least = row[0];
        for (j, to) in name.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
            least = least.min(row[j + 1]);
        }
        // No cell of a later row is smaller than the smallest of this one.
        if least > limit {
            return None;
        }
    }
    Some(row[name.len()]).filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_typing_error_finds_its_name_and_a_stranger_none() {
        let names = ["cart_total", "cart_id", "purchase"];
        assert_eq!(nearest("cart_totl", names), Some("cart_total"));
        assert_eq!(nearest("purchse", names), Some("purchase"));
        assert_eq!(nearest("weather", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest("größe", ["grösse", "große"]), Some("große"));
    }

    /// By the definition, without any shortcut.
    fn distance(a: &[char], b: &[char]) -> usize {
        match (a, b) {
            ([], rest) | (rest, []) => rest.len(),
            ([x, a_rest @ ..], [y, b_rest @ ..]) if x == y => distance(a_rest, b_rest),
            ([_, a_rest @ ..], [_, b_rest @ ..]) => {
                1 + distance(a_rest, b).min(distance(a, b_rest)).min(distance(a_rest, b_rest))
            }
        }
    }

    proptest! {
        #[test]
        fn shortcuts_change_no_answer(name in "[ab]{0,5}", candidates in prop::collection::vec("[ab]{0,6}", 0..6)) {
            let chars = |text: &str| text.chars().collect::<Vec<char>>();
            let limit = (name.len() / 3).max(2);
            let all = candidates.iter().map(|held| (distance(&chars(&name), &chars(held)), held.as_str()));
            let expected = all.filter(|(far, _)| *far <= limit).min().map(|(_, held)| held);
            prop_assert_eq!(nearest(&name, candidates.iter().map(String::as_str)), expected);
        }
    }
}
