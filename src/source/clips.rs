//! Which files are videos. Pictures are none, whatever their names are.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::Path,
};

use super::kinds::camera::has_video_name;
use crate::{descriptors::open_regular, picture};

/// Videos that consist of pictures.
const OF_PICTURES: &[&str] = &["mjpeg", "mjpg"];
/// The brands of pictures that use the container of MP4.
const PICTURE_BRANDS: &[&[u8; 4]] =
    &[b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"jxl "];
/// The number of bytes that decide.
const HEAD: u64 = 384;
/// The size of a packet of MPEG-TS, which begins with [`SYNC`].
const PACKET: usize = 188;
const SYNC: u8 = 0x47;

/// Whether the file at `path` is a video: a picture never is, and otherwise its extension or its first bytes say so. A pipe or a
/// device is none, and is not opened.
///
/// # Errors
/// It cannot be read.
pub fn is_video(path: &Path) -> io::Result<bool> {
    open_regular(path)?.map_or(Ok(false), |mut file| is_video_file(&mut file, path))
}

/// Like [`is_video`], for a file that is open. Afterwards it is at its beginning.
///
/// # Errors
/// It cannot be read.
pub fn is_video_file(file: &mut File, path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(is_video_with(path, &head))
}

/// Like [`is_video`], for a file that starts with `head`. Pure.
fn is_video_with(path: &Path, head: &[u8]) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    if extension.is_some_and(|extension| OF_PICTURES.contains(&&*extension)) {
        return true;
    }
    !is_still(head) && (has_video_name(path) || has_signature(head))
}

/// Whether the bytes are those of a picture.
fn is_still(head: &[u8]) -> bool {
    let brand = head.get(8..12).filter(|_| head.get(4..8) == Some(b"ftyp"));
    picture::is_picture(head)
        || brand.is_some_and(|brand| PICTURE_BRANDS.iter().any(|picture| brand == *picture))
}

fn has_signature(head: &[u8]) -> bool {
    let is_transport_stream = |head: &[u8]| {
        let mut packets = head.iter().step_by(PACKET);
        head.len() > PACKET && packets.all(|byte| *byte == SYNC)
    };
    match head {
        // MP4 and MOV, Matroska, AVI, MPEG-PS, Flash, ASF
        [_, _, _, _, b'f', b't', b'y', b'p', ..]
        | [0x1A, 0x45, 0xDF, 0xA3, ..]
        | [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..]
        | [0, 0, 1, 0xBA, ..]
        | [b'F', b'L', b'V', 1, ..]
        | [0x30, 0x26, 0xB2, 0x75, 0x8E, 0x66, 0xCF, 0x11, ..] => true,
        head => is_transport_stream(head),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_with_the_name_of_a_video_is_none_and_nothing_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mp4");
        std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(!is_video(&path).unwrap());
    }

    #[test]
    fn pictures_and_other_files_are_no_videos() {
        let ts: Vec<u8> = [&[SYNC][..], &[0; PACKET - 1]].concat().repeat(2);
        let jpeg = [0xFF, 0xD8, 0xFF, 0xE0];
        let cases: [(&str, &[u8], bool); 14] = [
            ("a.mp4", b"\0\0\0\x20ftypisom", true),
            ("a.MKV", b"", true),
            ("a.ts", b"anything", true),
            ("upload", b"\0\0\0\x20ftypisom", true),
            ("upload", &[0x1A, 0x45, 0xDF, 0xA3], true),
            ("upload", b"RIFF\0\0\0\0AVI LIST", true),
            ("upload", &ts, true),
            ("upload", &ts[..PACKET], false),
            ("a.mjpeg", &jpeg, true),
            ("a.mp4", &jpeg, false),
            ("a.avif", b"\0\0\0\x20ftypavif", false),
            ("a", b"\0\0\0\x20ftypheic", false),
            ("a.jpg", b"not a picture", false),
            ("notes.txt", b"Some text", false),
        ];
        for (name, head, expected) in cases {
            assert_eq!(is_video_with(Path::new(name), head), expected, "{name} {head:?}");
        }
    }
}
