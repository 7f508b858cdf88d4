//! Divides pictures of any proportion into patches, as the image processor of SigLIP 2 does it.

/// Width and height of a picture of `from` pixels once it is resized: whole patches of `side` pixels, at most `most` of them.
pub(super) fn size((width, height): (u32, u32), side: u32, most: u32) -> (u32, u32) {
    // The reference searches for the largest factor to this precision, in float64.
    const PRECISION: f64 = 1e-5;
    let scaled = |edge: u32, scale: f64| (f64::from(edge) * scale / f64::from(side)).ceil().max(1.0);
    let (mut least, mut largest) = (PRECISION / 10.0, 100.0);
    while largest - least >= PRECISION {
        let scale = (least + largest) / 2.0;
        if scaled(width, scale) * scaled(height, scale) <= f64::from(most) {
            least = scale;
        } else {
            largest = scale;
        }
    }
    let edge = |edge| scaled(edge, least) as u32 * side;
    (edge(width), edge(height))
}

/// Appends the patches of a picture, whose size is that of [`size`], as RGB. `table` has the value of every byte for each channel.
pub(super) fn append(
    rgb: &[u8],
    (width, height): (u32, u32),
    table: &[[f32; 256]; 3],
    (side, most): (u32, u32),
    tensor: &mut Vec<f32>,
) {
    let (side, width) = (side as usize, width as usize);
    let (rows, columns) = (height as usize / side, width / side);
    let end = tensor.len() + most as usize * 3 * side * side;
    for row in 0..rows {
        for column in 0..columns {
            for line in row * side..(row + 1) * side {
                let start = 3 * (line * width + column * side);
                let pixels = rgb[start..start + 3 * side].as_chunks::<3>().0;
                let values = pixels
                    .iter()
                    .flat_map(|pixel| [0, 1, 2].map(|channel| table[channel][usize::from(pixel[channel])]));
                tensor.extend(values);
            }
        }
    }
    tensor.resize(end, 0.0);
    tensor.extend([rows as f32, columns as f32]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of the reference.
    #[test]
    fn a_picture_has_as_many_patches_as_are_allowed() {
        for (from, side, most, expected) in [
            ((640, 480), 16, 256, (288, 224)),
            ((1920, 1080), 16, 256, (336, 192)),
            ((16, 16), 16, 256, (256, 256)),
            ((10_000, 10), 16, 256, (4096, 16)),
            ((1, 1), 16, 1, (16, 16)),
            ((224, 224), 14, 1024, (448, 448)),
        ] {
            let (width, height) = size(from, side, most);
            assert_eq!((width, height), expected, "{from:?}");
            assert!(width / side * (height / side) <= most);
        }
    }

    #[test]
    fn patches_have_their_pixels_row_by_row_and_are_filled_up() {
        let mut table = [[0.0; 256]; 3];
        for (channel, values) in table.iter_mut().enumerate() {
            (0..)
                .zip(values.iter_mut())
                .for_each(|(byte, value)| *value = channel as f32 * 1000.0 + byte as f32);
        }
        // Four columns and two rows of pixels: two patches of 2 x 2.
        let rgb: Vec<u8> = (0..8).flat_map(|pixel| [pixel; 3]).collect();
        let mut tensor = vec![7.0];
        append(&rgb, (4, 2), &table, (2, 3), &mut tensor);
        let patch = |pixels: [u8; 4]| {
            pixels.into_iter().flat_map(|pixel| [0.0, 1000.0, 2000.0].map(|base| base + f32::from(pixel)))
        };
        let expected = [7.0].into_iter().chain(patch([0, 1, 4, 5])).chain(patch([2, 3, 6, 7]));
        let expected: Vec<f32> = expected.chain([0.0; 12]).chain([1.0, 2.0]).collect();
        assert_eq!(tensor, expected);
    }
}
