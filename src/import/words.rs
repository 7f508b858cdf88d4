//! Names of objects as words for a model. Pure.

/// Names that are no common noun, and their words.
const SPECIAL: &[(&str, &str)] = &[
    ("scissors", "scissors"),
    ("skis", "skis"),
    ("tv", "a television"),
    ("waste_bin", "a rubbish bin"),
    ("bbq_grill", "a barbecue grill"),
    ("an_post", "a delivery van of An Post"),
    ("robot_lawnmower", "a robotic lawn mower"),
];

/// Brands of delivery vans, which Frigate's models name.
const DELIVERIES: &[(&str, &str)] = &[
    ("amazon", "Amazon"),
    ("canada_post", "Canada Post"),
    ("dhl", "DHL"),
    ("dpd", "DPD"),
    ("fedex", "FedEx"),
    ("gls", "GLS"),
    ("nzpost", "NZ Post"),
    ("postnl", "PostNL"),
    ("postnord", "PostNord"),
    ("purolator", "Purolator"),
    ("royal_mail", "Royal Mail"),
    ("ups", "UPS"),
    ("usps", "USPS"),
];

/// The words for an object: `person` is `a person`, `license_plate` is `a license plate`.
pub(super) fn words(object: &str) -> String {
    let object = object.trim();
    let found = |table: &[(&str, &'static str)]| {
        table.iter().find(|(name, _)| *name == object).map(|(_, words)| *words)
    };
    if let Some(words) = found(SPECIAL) {
        return words.to_owned();
    }
    if let Some(brand) = found(DELIVERIES) {
        return format!("a delivery van of {brand}");
    }
    let name = object.replace(['_', '-'], " ");
    let is_vowel = |letter: char| "aeiouAEIOU".contains(letter);
    let article = if name.starts_with(is_vowel) { "an" } else { "a" };
    format!("{article} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_words() {
        for (object, expected) in [
            ("person", "a person"),
            ("umbrella", "an umbrella"),
            ("license_plate", "a license plate"),
            ("fedex", "a delivery van of FedEx"),
            ("scissors", "scissors"),
        ] {
            assert_eq!(words(object), expected);
        }
    }
}
