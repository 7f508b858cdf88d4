//! A table of cases: scenes that changed and scenes that did not, computed.

use super::*;

const SIZE: (usize, usize) = (640, 360);

/// Pseudo-random numbers, the same in each run.
struct Chance(u64);

impl Chance {
    /// 0 to 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// About normal, of deviation 1.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.next()).sum::<f32>() - 6.0
    }
}

/// A yard: sky, a wall with texture, a dark door, a bright lamp.
fn scene() -> Vec<f32> {
    let mut chance = Chance(7);
    let mut pixels = vec![0.0; SIZE.0 * SIZE.1];
    for (at, pixel) in pixels.iter_mut().enumerate() {
        let (x, y) = (at % SIZE.0, at / SIZE.0);
        *pixel = if y < 90 { 190.0 - y as f32 / 3.0 } else { 110.0 + ((x / 20 + y / 12) % 2) as f32 * 14.0 };
        *pixel += (chance.next() - 0.5) * 20.0;
        if (400..470).contains(&x) && (150..330).contains(&y) {
            *pixel = 45.0 + (chance.next() - 0.5) * 8.0;
        }
        if (560..580).contains(&x) && (100..115).contains(&y) {
            *pixel = 245.0;
        }
    }
    pixels
}

fn each(pixels: &[f32], change: impl Fn(usize, usize, f32) -> f32) -> Vec<f32> {
    pixels.iter().enumerate().map(|(at, level)| change(at % SIZE.0, at / SIZE.0, *level)).collect()
}

fn noisy(pixels: &[f32], deviation: f32, seed: u64) -> Vec<f32> {
    let mut chance = Chance(seed);
    pixels.iter().map(|level| level + deviation * chance.normal()).collect()
}

/// An object of this brightness at this place.
fn object(pixels: &[f32], x: usize, y: usize, width: usize, height: usize, level: f32) -> Vec<f32> {
    each(pixels, |at_x, at_y, before| {
        if (x..x + width).contains(&at_x) && (y..y + height).contains(&at_y) { level } else { before }
    })
}

/// The result of coarse quantisation: flat blocks instead of texture, and unchanged edges.
fn pumped(pixels: &[f32]) -> Vec<f32> {
    each(pixels, |x, y, level| {
        let (left, top) = (x / 8 * 8, y / 8 * 8);
        let block = || (0..64).map(|at| pixels[(top + at / 8) * SIZE.0 + left + at % 8]);
        let mean = block().sum::<f32>() / 64.0;
        let is_flat = block().all(|level| (level - mean).abs() < 25.0);
        (if is_flat { mean } else { level } / 6.0).round() * 6.0
    })
}

fn greys(pixels: &[f32], regions: &[Region]) -> Vec<Grey> {
    let bytes: Vec<u8> = pixels.iter().map(|level| level.round().clamp(0.0, 255.0) as u8).collect();
    FrameLayout { size: SIZE, regions }.luma(&bytes, SIZE.0).unwrap()
}

fn differs(old: &[f32], new: &[f32]) -> bool {
    greys(old, &[])[0].differs(&greys(new, &[])[0])
}

#[test]
fn the_changed_area_encloses_what_changed() {
    let scene = scene();
    let area = |new: &[f32]| greys(&scene, &[])[0].changed_area(&greys(new, &[])[0]);
    assert_eq!(area(&scene), None);
    assert_eq!(area(&noisy(&scene, 2.0, 3)), None);
    // 80 x 60 pixels at 160, 200 of 640 x 360.
    let [x, y, width, height] = area(&object(&scene, 160, 200, 80, 60, 20.0)).unwrap();
    let cell = 0.03;
    for (edge, expected) in
        [(x, 0.25), (y, 200.0 / 360.0), (x + width, 240.0 / 640.0), (y + height, 260.0 / 360.0)]
    {
        assert!((edge - expected).abs() < cell, "{x} {y} {width} {height}");
    }
}

#[test]
fn a_table_of_scenes() {
    let scene = scene();
    let with = |x, y, width, height, level| object(&scene, x, y, width, height, level);
    // 24 by 48 pixels are half a percent of the picture.
    let cases = [
        ("the same", scene.clone(), false),
        ("noise", noisy(&scene, 6.0, 1), false),
        ("noise of a dark night", noisy(&scene, 20.0, 1), false),
        ("brighter by a stop's third", each(&scene, |_, _, level| level * 1.26), false),
        ("darker", each(&scene, |_, _, level| level * 0.7 + 8.0), false),
        ("a veil", each(&scene, |_, _, level| level * 0.6 + 70.0), false),
        ("brighter and noisy", noisy(&each(&scene, |_, _, level| level * 1.2), 6.0, 3), false),
        ("pumping at a key frame", pumped(&scene), false),
        ("the digits of a clock", with(10, 10, 20, 14, 250.0), false),
        ("a blinking light", with(300, 200, 6, 6, 255.0), false),
        (
            "a lens that shakes by a pixel",
            each(&scene, |x, y, _| scene[y * SIZE.0 + x.saturating_sub(1)]),
            false,
        ),
        ("a person far away, in dark clothes", with(200, 200, 24, 48, 60.0), true),
        ("a person far away, in bright clothes", with(200, 200, 24, 48, 190.0), true),
        ("a person before a wall of nearly the same brightness", with(200, 200, 24, 48, 97.0), true),
        ("a person before the dark door", with(420, 220, 24, 48, 75.0), true),
        ("a person far away and noise", noisy(&with(200, 200, 24, 48, 70.0), 6.0, 4), true),
        (
            "a person and another exposure",
            each(&with(200, 200, 24, 48, 60.0), |_, _, level| level * 1.2),
            true,
        ),
        ("a car that fills a third", with(100, 150, 400, 190, 70.0), true),
        (
            "a shadow over the half",
            each(&scene, |x, _, level| if x < 320 { level * 0.6 } else { level }),
            true,
        ),
        ("another place", each(&scene, |x, y, _| scene[(SIZE.1 - 1 - y) * SIZE.0 + SIZE.0 - 1 - x]), true),
        ("the dark", each(&scene, |_, _, _| 16.0), true),
    ];
    for (name, new, expected) in cases {
        assert_eq!(differs(&scene, &new), expected, "{name}");
        assert_eq!(differs(&new, &scene), expected, "{name}, the other way round");
    }
    let here = with(200, 200, 24, 48, 60.0);
    assert!(differs(&here, &with(230, 200, 24, 48, 60.0)), "a person took a step aside");
}

#[test]
fn changes_outside_the_regions_are_ignored_and_smaller_ones_inside_are_noticed() {
    let scene = scene();
    let region = |x, y, width, height| Region { name: String::new(), x, y, width, height };
    let regions = [region(0.25, 0.5, 0.25, 0.25), region(0.999, 0.999, 0.001, 0.001)];
    let parts = |pixels: &[f32]| greys(pixels, &regions);
    let mut last = LastScored::new(Unchanged::Repeat { at_least_every: Duration::from_secs(30) });
    last.scored(SIZE, parts(&scene), Duration::ZERO);
    let repeated = |pixels: &[f32]| last.is_repeated(SIZE, &parts(pixels), Duration::ZERO);
    assert!(repeated(&object(&scene, 500, 20, 80, 80, 20.0)), "outside");
    // A sixteenth of half a percent, in a region of a sixteenth.
    let small = object(&scene, 220, 220, 7, 12, 20.0);
    assert!(!differs(&scene, &small), "in the whole frame it is ignored");
    assert!(!repeated(&small));
}

#[test]
fn one_frame_in_each_interval_is_scored_and_so_is_another_size() {
    let (parts, second) = (greys(&scene(), &[]), Duration::from_secs);
    let mut last = LastScored::new(Unchanged::Repeat { at_least_every: second(30) });
    assert!(!last.is_repeated(SIZE, &parts, second(0)), "the first");
    last.scored(SIZE, parts.clone(), second(5));
    let cases = [(SIZE, 6, true), (SIZE, 34, true), (SIZE, 35, false), ((320, 180), 6, false)];
    for (size, at, expected) in cases {
        assert_eq!(last.is_repeated(size, &parts, second(at)), expected, "{size:?} at {at}");
    }
    let mut always = LastScored::new(Unchanged::Score);
    always.scored(SIZE, parts.clone(), second(5));
    assert!(!always.is_compared() && !always.is_repeated(SIZE, &parts, second(5)));
}

#[test]
fn a_picture_and_its_plane_are_equal_in_any_size() {
    for (width, height) in [(1, 1), (3, 200), (130, 5), (1920, 1080)] {
        let levels: Vec<u8> = (0..width * height).map(|at| (at * 7 % 251) as u8).collect();
        let rgb = levels.iter().flat_map(|level| [*level; 3]).collect();
        let picture = Picture::of_rgb(width as u32, height as u32, rgb);
        let layout = FrameLayout { size: (width, height), regions: &[] };
        let (plane, picture) = (layout.luma(&levels, width).unwrap(), layout.picture(&picture));
        assert!(!plane[0].differs(&picture[0]), "{width} x {height}");
        assert!(layout.luma(&levels[1..], width).is_none());
    }
}
