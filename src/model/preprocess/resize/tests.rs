use proptest::prelude::*;

use super::*;

/// Both passes in plain code, for the default backend.
fn plainly(
    rgb: &[u8],
    from: (u32, u32),
    to: (u32, u32),
    (columns, rows): (Range<usize>, Range<usize>),
    filter: Filter,
) -> Vec<u8> {
    let across = Axis::new(from.0, to.0, columns, filter, Backend::Torchvision);
    let down = Axis::new(from.1, to.1, rows, filter, Backend::Torchvision);
    let needed = down.needed();
    let part = plain::horizontal(rgb, from.0 as usize, needed.clone(), &across, 0);
    let rows = Rows { first: needed.start, ..Rows::of_columns(&part, across.len(), 0..across.len()) };
    plain::vertical(&rows, &down)
}

/// Hard edges beside noise, so that values are clamped at both ends.
fn picture(width: u32, height: u32, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let byte = |at: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 24) as u8;
        if (at / 40).is_multiple_of(2) { noise } else { (noise >> 7) * 255 }
    };
    (0..width * height * 3).map(byte).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn wide_registers_change_nothing(
        from in (1u32..150, 1u32..90),
        to in (1u32..150, 1u32..90),
        window in ((0f64..1.0, 0f64..1.0), (0f64..1.0, 0f64..1.0)),
        bicubic: bool,
        seed: u32,
    ) {
        let filter = if bicubic { Filter::Bicubic } else { Filter::Bilinear };
        let part = |edge: u32, (one, other): (f64, f64)| {
            let at = |fraction: f64| (f64::from(edge) * fraction) as usize;
            at(one.min(other))..at(one.max(other)) + 1
        };
        let window = (part(to.0, window.0), part(to.1, window.1));
        let rgb = picture(from.0, from.1, seed);
        let expected = plainly(&rgb, from, to, window.clone(), filter);
        prop_assert_eq!(resize(&rgb, from, to, window, filter, Backend::Torchvision), expected);
    }
}

#[test]
fn a_camera_picture_is_the_same_with_wide_registers() {
    let rgb = picture(1920, 1080, 7);
    for (to, window) in
        [((398, 224), (87..311, 0..224)), ((224, 224), (0..224, 0..224)), ((384, 384), (0..384, 0..384))]
    {
        let expected = plainly(&rgb, (1920, 1080), to, window.clone(), Filter::Bicubic);
        let found = resize(&rgb, (1920, 1080), to, window, Filter::Bicubic, Backend::Torchvision);
        assert!(found == expected, "{to:?}");
    }
}
