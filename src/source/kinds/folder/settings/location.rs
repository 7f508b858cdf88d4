//! Reads the path of a folder. Addresses of network shares, paths of Windows and files are rejected with what to write instead.

use std::path::{Path, PathBuf};

use crate::{
    source::kinds::camera::has_video_name,
    yaml::{
        mask,
        reader::{Reader, Setting},
    },
};

/// The folder at `at`, which need not exist yet.
pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<PathBuf> {
    let text = reader.text(at)?;
    if let Some(remedy) = elsewhere(&text, |path| Path::new(path).is_dir()) {
        reader.must_be(at, "a folder of this machine", remedy);
        return None;
    }
    let path = reader.resolve_path(at, &text)?;
    if path.is_file() || has_video_name(&path) && !path.is_dir() {
        reader.must_be(at, "a folder", file_remedy(&mask::shown(&text)));
        return None;
    }
    Some(path)
}

/// What to write instead of a file.
fn file_remedy(typed: &str) -> String {
    let file = Path::new(typed);
    if has_video_name(file) {
        return format!(
            "write `video: {typed}` to play it like a camera; `stakeout replay {typed}` plays it once"
        );
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    format!(
        "name the folder that holds it: `{}`; `stakeout classify {typed}` scores it once",
        folder.display()
    )
}

/// What to write instead of the address of another machine, or a path of another system; `None`: `text` is a path of this one.
/// The text is not repeated where it may hold a password.
fn elsewhere(text: &str, is_folder: impl Fn(&str) -> bool) -> Option<String> {
    let text = text.trim();
    if let Some((scheme, _)) = text.split_once(":/").or_else(|| text.split_once(":\\\\"))
        && scheme.len() > 1
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
    {
        return Some(of_scheme(&scheme.to_ascii_lowercase()));
    }
    let mut letters = text.chars();
    match (letters.next(), letters.next(), letters.next()) {
        (Some(drive), Some(':'), None | Some('\\' | '/')) if drive.is_ascii_alphabetic() => {
            let rest = text[2..].trim_start_matches(['\\', '/']).replace('\\', "/");
            Some(format!(
                "stakeout runs on Linux: in WSL this folder is `/mnt/{}/{rest}` (with `poll: 5s`); on another machine, share the \
                 folder and mount the share",
                drive.to_ascii_lowercase()
            ))
        }
        (Some('\\'), Some('\\'), Some(_)) => Some(of_scheme("smb")),
        // A path may start with two slashes, and then names a folder that exists or can be created at the root.
        (Some('/'), Some('/'), Some(host)) if host != '/' && text[2..].contains('/') && !is_folder(text) => {
            Some(of_scheme("smb"))
        }
        _ => None,
    }
}

/// What to write instead of an address with this scheme, in lower case.
fn of_scheme(scheme: &str) -> String {
    let mounted = |kind: &str, what: &str| {
        format!(
            "mount it (`sudo mount -t {kind} {what} /mnt/NAME`, or a line in /etc/fstab), and write `folder: /mnt/NAME` with `poll: 5s`"
        )
    };
    match scheme {
        "smb" | "cifs" => mounted("cifs", "//HOST/SHARE"),
        "nfs" | "nfs3" | "nfs4" => mounted("nfs", "HOST:/PATH"),
        "ftp" | "ftps" | "ftpes" | "tftp" => {
            "stakeout downloads nothing by FTP: let the camera upload to an FTP server on this machine (such as vsftpd), and name \
             the folder that the server writes into"
                .to_owned()
        }
        "http" | "https" => {
            "for one picture that is requested again and again write `http: ADDRESS`; for a stream `video: ADDRESS`".to_owned()
        }
        "rtsp" | "rtsps" => "write `rtsp: ADDRESS` instead of `folder:`".to_owned(),
        "rtmp" | "rtmps" | "srt" | "udp" | "tcp" | "rtp" | "hls" => {
            "write `video: ADDRESS` instead of `folder:`".to_owned()
        }
        "mqtt" | "mqtts" | "ws" | "wss" => {
            "for pictures from MQTT write `mqtt: TOPIC`, and the broker's address below `broker:`".to_owned()
        }
        "file" => "write the path alone, such as `folder: /srv/pictures`".to_owned(),
        _ => "mount it, for example with `sshfs` or `rclone mount`, and write the folder that it is mounted on with `poll: 5s`"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_folder_of_this_machine_has_a_remedy_that_fits() {
        let cases = [
            ("smb://nas/cam", Some("mount -t cifs //HOST/SHARE")),
            ("SMB://user:hunter2@nas/cam", Some("mount -t cifs")),
            ("cifs://nas/cam", Some("mount -t cifs")),
            ("smb:\\\\nas\\cam", Some("mount -t cifs")),
            ("\\\\nas\\cam", Some("mount -t cifs")),
            ("//nas/cam", Some("mount -t cifs")),
            ("nfs://nas/volume1/cam", Some("mount -t nfs HOST:/PATH")),
            ("ftp://cam/pictures", Some("FTP server on this machine")),
            ("ftps://cam/pictures", Some("FTP server on this machine")),
            ("sftp://cam/pictures", Some("`sshfs`")),
            ("s3://bucket/cam", Some("`rclone mount`")),
            ("http://cam/snap.jpg", Some("`http: ADDRESS`")),
            ("rtsp://cam/1", Some("`rtsp: ADDRESS`")),
            ("mqtt://broker/x", Some("`mqtt: TOPIC`")),
            ("file:///srv/cam", Some("`folder: /srv/pictures`")),
            ("C:\\Users\\me\\cam", Some("`/mnt/c/Users/me/cam`")),
            ("d:/cam", Some("`/mnt/d/cam`")),
            ("C:", Some("`/mnt/c/`")),
            ("/srv/cam", None),
            ("cam", None),
            ("cam/C:", None),
            ("./a:b/c", None),
            ("~/cam", None),
            ("//existing/cam", None),
            ("//srv", None),
            ("///srv/cam", None),
            ("a\\b", None),
            ("2026-11-27T10:00/x", None),
        ];
        for (text, expected) in cases {
            let remedy = elsewhere(text, |path| path == "//existing/cam");
            match expected {
                None => assert_eq!(remedy, None, "{text}"),
                Some(part) => {
                    let remedy = remedy.unwrap_or_else(|| panic!("{text} is accepted"));
                    assert!(remedy.contains(part) && !remedy.contains("hunter2"), "{text}: {remedy}");
                }
            }
        }
    }

    #[test]
    fn a_file_has_a_remedy_by_its_kind() {
        assert!(file_remedy("/a/day.MP4").starts_with("write `video: /a/day.MP4`"));
        assert!(file_remedy("/a/b.jpg").starts_with("name the folder that holds it: `/a`"));
        assert!(file_remedy("b.jpg").starts_with("name the folder that holds it: `.`"));
    }
}
