//! Free names for files that are moved: `a.jpg`, `a-1.jpg`, `a-2.jpg`. Pure.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

/// The most bytes of a name.
const LONGEST: usize = 255;

/// The first free number of names that are numbered without gaps, and a free number otherwise. It asks about a few dozen numbers at
/// most, however many are taken. `None`: someone else took all that it asked about.
///
/// # Errors
/// The first one of `is_taken`.
pub(super) fn free_number<E>(mut is_taken: impl FnMut(u64) -> Result<bool, E>) -> Result<Option<u64>, E> {
    if !is_taken(0)? {
        return Ok(Some(0));
    }
    let (mut taken, mut free) = (0, 1_u64);
    while is_taken(free)? {
        let Some(next) = free.checked_mul(2) else { return Ok(None) };
        (taken, free) = (free, next);
    }
    while free - taken > 1 {
        let middle = taken + (free - taken) / 2;
        if is_taken(middle)? { taken = middle } else { free = middle }
    }
    Ok(Some(free))
}

/// `name` with a number before its extension, unless that is 0. A long name is shortened before the number.
pub(super) fn numbered(name: &OsStr, number: u64) -> OsString {
    if number == 0 { name.to_owned() } else { with_suffix(name, &format!("-{number}")) }
}

/// `name` with `suffix` before its extension.
pub(super) fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let path = Path::new(name);
    let extension = path.extension().map_or(Vec::new(), |extension| [b".", extension.as_bytes()].concat());
    let stem = path.file_stem().unwrap_or_default().as_bytes();
    // An extension of almost 255 bytes is none.
    let extension = if extension.len() + suffix.len() < LONGEST { extension } else { Vec::new() };
    let room = LONGEST - extension.len() - suffix.len();
    let name = [shortened(stem, room), suffix.as_bytes(), &extension].concat();
    OsString::from_vec(name)
}

/// At most `most` bytes of a name, without part of a character at its end.
pub(super) fn shortened(name: &[u8], most: usize) -> &[u8] {
    let Some(cut) = name.get(..most) else { return name };
    match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => &cut[..error.valid_up_to()],
        _ => cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_number_is_found_with_few_questions_however_many_are_taken() {
        for taken in [0, 1, 2, 3, 5, 63, 64, 65, 1_000, 200_000, 5_000_000_000] {
            let mut questions = 0;
            let free = free_number(|number| {
                questions += 1;
                Ok::<_, ()>(number < taken)
            });
            assert_eq!(free, Ok(Some(taken)), "the first free one");
            assert!(questions <= 70, "{questions} questions for {taken} files");
        }
        let powers = |number: u64| Ok::<_, ()>(number == 0 || number.is_power_of_two());
        assert_eq!(free_number(powers), Ok(None), "as an attacker would choose them");
        let gaps = |number: u64| Ok::<_, ()>(number != 6 && number < 100);
        assert!(free_number(gaps).unwrap().is_some_and(|number| number == 6 || number == 100));
        assert_eq!(free_number(|_| Err("no answer")), Err("no answer"));
    }

    #[test]
    fn numbers_are_before_the_extension_and_no_name_is_too_long() {
        let numbered = |name: &str, number| numbered(OsStr::new(name), number).into_string().unwrap();
        let long = format!("{}.jpg", "ä".repeat(125));
        let cases = [
            ("a.jpg", 0, "a.jpg".to_owned()),
            ("a.b.jpg", 2, "a.b-2.jpg".to_owned()),
            ("plain", 3, "plain-3".to_owned()),
            (".hidden", 1, ".hidden-1".to_owned()),
            (&*long, 0, long.clone()),
            (&*long, 12, format!("{}-12.jpg", "ä".repeat(124))),
        ];
        for (name, number, expected) in cases {
            assert_eq!(numbered(name, number), expected, "{name}");
        }
        assert_eq!(numbered(&format!("a.{}", "x".repeat(253)), 7), "a-7");
        assert_eq!(with_suffix(OsStr::from_bytes(&[0xff; 255]), "-1").len(), 255, "not UTF-8");
    }
}
