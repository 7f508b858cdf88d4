//! What happens to files after their frames, also while someone exchanges files, folders and links between the steps.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, Ordering},
    time::UNIX_EPOCH,
};

use tempfile::TempDir;

use super::{super::settings::Links, *};

/// A watched folder with a sub-folder, a state folder with an outbox, and a folder elsewhere.
struct World(TempDir);

/// The name of a picture in the watched folder, and of a file in the state folder.
const NAME: &str = "outbox.sqlite";

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        for folder in ["inbox/sub", "state", "elsewhere"] {
            fs::create_dir_all(world.at(folder)).unwrap();
        }
        fs::write(world.at("state").join(NAME), "alerts").unwrap();
        world
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn tree(&self, links: Links) -> Arc<Tree> {
        Arc::new(Tree::open(&self.at("inbox"), links, Some(&self.at("state"))).unwrap())
    }

    fn finisher(&self, after: &After) -> Finisher {
        Finisher::new(after.clone(), self.tree(Links::Ignore), true)
    }

    fn moving(&self, to: &str) -> After {
        After::Move(self.at(to))
    }

    /// What may happen to files: they are deleted, or moved within the file system or to another one.
    fn afters(&self, other_device: &TempDir) -> [After; 3] {
        [After::Delete, self.moving("elsewhere/done"), After::Move(other_device.path().join("done"))]
    }

    fn is_untouched(&self) {
        assert_eq!(names(&self.at("state")), [NAME]);
        assert_eq!(fs::read_to_string(self.at("state").join(NAME)).unwrap(), "alerts");
    }
}

fn other_device() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn take(finisher: &Arc<Finisher>, path: &Path) -> Option<Taken> {
    let place = finisher.tree.place(path).ok()?;
    let mut file = finisher.tree.file(&place).ok()??;
    let metadata = file.metadata().ok()?;
    let version = Version::of(&metadata);
    let (bytes, _) = take::read(&mut file, version).ok()?;
    Some(Taken {
        path: path.to_path_buf(),
        version,
        content: picture::hash(&bytes),
        id: Identity::of(&metadata),
        created: metadata.created().ok(),
        place: Arc::new(place),
        finisher: Arc::clone(finisher),
    })
}

/// Writes a picture, and takes it.
fn taken(finisher: &Arc<Finisher>, path: &Path) -> Taken {
    fs::write(path, "picture").unwrap();
    take(finisher, path).unwrap()
}

fn finish(taken: &Taken) -> io::Result<bool> {
    taken.finisher.finish(&taken.path, taken)
}

/// The names in a folder, without what exists only while a file is moved or deleted.
fn names(folder: &Path) -> Vec<String> {
    let mut names = crate::descriptors::tests::names(folder);
    names.retain(|name| !name.starts_with(".stakeout-"));
    names
}

/// Everything that a hook does once, at this step.
fn at_step(step: Step, act: impl Fn() + Send + Sync + 'static) -> Option<Box<dyn Fn(Step) + Send + Sync>> {
    Some(Box::new(move |reached| {
        if reached == step {
            act()
        }
    }))
}

#[test]
fn a_file_that_another_program_removes_is_no_failure() {
    let world = World::new();
    for after in [After::Delete, world.moving("elsewhere/done")] {
        let path = world.at("inbox/gone.png");
        let mut finisher = world.finisher(&after);
        let gone = path.clone();
        finisher.hook = at_step(Step::Checked, move || fs::remove_file(&gone).unwrap());
        let taken = taken(&Arc::new(finisher), &path);
        assert!(finish(&taken).unwrap(), "{after:?}");
        assert!(!finish(&taken).unwrap(), "a missing file");
    }
    assert_eq!(names(&world.at("elsewhere/done")), Vec::<String>::new(), "its name is not reserved");
}

#[test]
fn nothing_is_overwritten() {
    let world = World::new();
    let finisher = Arc::new(world.finisher(&world.moving("elsewhere/deep/done")));
    let (path, to) = (world.at("inbox/a.b.png"), world.at("elsewhere/deep/done"));
    for text in ["one", "two", "three"] {
        fs::write(&path, text).unwrap();
        assert!(finish(&take(&finisher, &path).unwrap()).unwrap());
        assert!(!path.exists());
    }
    assert_eq!(names(&to), ["a.b-1.png", "a.b-2.png", "a.b.png"]);
    assert_eq!(fs::read_to_string(to.join("a.b-2.png")).unwrap(), "three");
}

#[test]
fn another_version_is_not_touched() {
    let world = World::new();
    let path = world.at("inbox/a.png");
    for after in [After::Delete, world.moving("inbox/done")] {
        let finisher = Arc::new(world.finisher(&after));
        let old = taken(&finisher, &path);
        fs::write(&path, "newer").unwrap();
        assert!(!finish(&old).unwrap());
    }
    let keeps = Arc::new(world.finisher(&After::Keep));
    assert!(!finish(&take(&keeps, &path).unwrap()).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "newer");
    let deletes = Arc::new(world.finisher(&After::Delete));
    let newest = take(&deletes, &path).unwrap();
    // A file of the same size and time under the name is another file.
    fs::write(world.at("elsewhere/new"), "NEWER").unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    File::options().write(true).open(world.at("elsewhere/new")).unwrap().set_modified(modified).unwrap();
    fs::rename(world.at("elsewhere/new"), &path).unwrap();
    assert!(!finish(&newest).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "NEWER");
}

#[test]
fn a_time_that_is_set_later_makes_no_new_version_but_new_content_does() {
    let world = World::new();
    let path = world.at("inbox/a.png");
    let finisher = Arc::new(world.finisher(&After::Delete));
    fs::write(&path, "same size").unwrap();
    let old = take(&finisher, &path).unwrap();
    let set_time = || File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH).unwrap();
    fs::write(&path, "SAME SIZE").unwrap();
    set_time();
    assert!(!finish(&old).unwrap());
    fs::write(&path, "same size").unwrap();
    set_time();
    assert!(finish(&old).unwrap());
    fs::write(&path, "same size").unwrap();
    assert!(!finish(&old).unwrap(), "another file of the same name and content");
}

#[test]
fn a_file_is_moved_to_another_file_system_completely() {
    let (world, there) = (World::new(), other_device());
    let path = world.at("inbox/a.png");
    let finisher = Arc::new(world.finisher(&After::Move(there.path().to_path_buf())));
    let taken = taken(&finisher, &path);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    assert!(finish(&taken).unwrap());
    assert!(!path.exists());
    assert_eq!(fs::read_dir(there.path()).unwrap().count(), 1, "no copy is left over");
    let moved = there.path().join("a.png");
    assert_eq!(fs::read_to_string(&moved).unwrap(), "picture");
    assert_eq!(fs::metadata(&moved).unwrap().modified().unwrap(), modified);
}

#[test]
fn a_link_that_is_followed_is_moved_as_its_picture_and_deleted_as_a_link() {
    let world = World::new();
    let (original, link) = (world.at("inbox/original"), world.at("inbox/link.png"));
    fs::write(&original, "picture").unwrap();
    for after in [world.moving("inbox/done"), After::Delete] {
        symlink("original", &link).unwrap();
        let finisher = Arc::new(Finisher::new(after, world.tree(Links::Follow), true));
        assert!(finish(&take(&finisher, &link).unwrap()).unwrap());
        assert!(!link.is_symlink() && original.exists());
    }
    let moved = world.at("inbox/done/link.png");
    assert_eq!(fs::read_to_string(&moved).unwrap(), "picture");
    assert!(!moved.is_symlink());
    assert_eq!(names(&world.at("inbox")), ["done", "original", "sub"]);
}

#[test]
fn a_failed_move_changes_nothing() {
    let world = World::new();
    let (path, no_folder) = (world.at("inbox/a.png"), world.at("inbox/file"));
    fs::write(&no_folder, "").unwrap();
    let finisher = Arc::new(world.finisher(&After::Move(no_folder.clone())));
    let error = finish(&taken(&finisher, &path)).unwrap_err();
    assert!(error.to_string().starts_with(&no_folder.display().to_string()), "{error}");
    assert_eq!(names(&world.at("inbox")), ["a.png", "file", "sub"]);
}

/// The attack that deleted the service's own outbox: the folder of the picture becomes a link to the state folder.
#[test]
fn a_folder_that_is_exchanged_for_a_link_leads_nowhere() {
    let there = other_device();
    for step in [None, Some(Step::Checked), Some(Step::Held)] {
        for index in 0..3 {
            let world = World::new();
            let after = world.afters(&there)[index].clone();
            let mut finisher = world.finisher(&after);
            let (sub, aside, state) = (world.at("inbox/sub"), world.at("inbox/aside"), world.at("state"));
            let exchange = {
                let (sub, aside) = (sub.clone(), aside.clone());
                move || {
                    fs::rename(&sub, &aside).unwrap();
                    symlink(&state, &sub).unwrap();
                }
            };
            if let Some(step) = step {
                finisher.hook = at_step(step, exchange.clone());
            }
            let taken = taken(&Arc::new(finisher), &sub.join(NAME));
            if step.is_none() {
                exchange();
            }
            assert!(finish(&taken).unwrap(), "{after:?} {step:?}");
            world.is_untouched();
            assert_eq!(names(&aside), Vec::<String>::new(), "the picture itself is gone: {after:?} {step:?}");
            assert!(sub.is_symlink());
        }
    }
}

/// Also a renamed file is found below the watched folder only.
#[test]
fn a_renamed_file_is_not_found_over_a_link() {
    let world = World::new();
    let finisher = Arc::new(world.finisher(&After::Delete));
    let taken = taken(&finisher, &world.at("inbox/sub/a.jpg"));
    fs::rename(world.at("inbox/sub/a.jpg"), world.at("elsewhere/a.jpg")).unwrap();
    symlink(world.at("elsewhere"), world.at("inbox/link")).unwrap();
    for path in ["inbox/link/a.jpg", "inbox/../elsewhere/a.jpg", "elsewhere/a.jpg"] {
        assert!(!finisher.finish(&world.at(path), &taken).unwrap_or(false), "{path}");
    }
    fs::rename(world.at("elsewhere/a.jpg"), world.at("inbox/renamed.jpg")).unwrap();
    assert!(finisher.finish(&world.at("inbox/renamed.jpg"), &taken).unwrap());
}

#[test]
fn what_takes_the_place_of_a_picture_after_the_check_is_put_back() {
    let there = other_device();
    type Exchange = fn(&Path, &World);
    let exchanges: [(&str, Exchange); 4] = [
        ("a newer picture", |path, world| {
            fs::write(world.at("elsewhere/new"), "newer picture").unwrap();
            fs::rename(world.at("elsewhere/new"), path).unwrap();
        }),
        ("the same file with new content", |path, _| fs::write(path, "newer picture").unwrap()),
        ("a link to a state file", |path, world| {
            fs::remove_file(path).unwrap();
            symlink(world.at("state").join(NAME), path).unwrap();
        }),
        ("a folder", |path, _| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ];
    for (what, exchange) in exchanges {
        for index in 0..3 {
            let world = Arc::new(World::new());
            let after = world.afters(&there)[index].clone();
            let (path, target) = (world.at("inbox/sub/a.jpg"), world.at("elsewhere/done"));
            let mut finisher = world.finisher(&after);
            finisher.hook = at_step(Step::Checked, {
                let (path, world) = (path.clone(), Arc::clone(&world));
                move || exchange(&path, &world)
            });
            let taken = taken(&Arc::new(finisher), &path);
            assert!(!finish(&taken).unwrap(), "{what} {after:?}");
            world.is_untouched();
            assert_eq!(names(&world.at("inbox/sub")), ["a.jpg"], "{what} {after:?}");
            let metadata = fs::symlink_metadata(&path).unwrap();
            let expected = ["a newer picture", "the same file with new content"].contains(&what);
            assert_eq!(metadata.is_file(), expected, "{what}");
            if expected {
                assert_eq!(fs::read_to_string(&path).unwrap(), "newer picture");
            }
            for target in [target, there.path().join("done")] {
                assert!(
                    !target.exists() || fs::read_dir(&target).unwrap().next().is_none(),
                    "{what} {after:?}"
                );
            }
        }
    }
}

#[test]
fn a_file_that_is_put_back_replaces_nothing_and_finds_its_way_without_its_folder() {
    let world = Arc::new(World::new());
    for removes_folder in [false, true] {
        let path = world.at("inbox/sub/a.jpg");
        let mut finisher = world.finisher(&After::Delete);
        finisher.hook = Some(Box::new({
            let (path, sub) = (path.clone(), world.at("inbox/sub"));
            move |step| match step {
                Step::Checked => fs::write(&path, "changed").unwrap(),
                Step::Held if removes_folder => fs::remove_dir_all(&sub).unwrap(),
                Step::Held => fs::write(&path, "newest").unwrap(),
            }
        }));
        let taken = taken(&Arc::new(finisher), &path);
        assert!(!finish(&taken).unwrap());
        let back = if removes_folder { world.at("inbox/a.jpg") } else { world.at("inbox/sub/a-1.jpg") };
        assert_eq!(fs::read_to_string(back).unwrap(), "changed");
        if !removes_folder {
            assert_eq!(fs::read_to_string(&path).unwrap(), "newest");
        }
    }
}

/// The attack that lost every alert: a link with the name that a copy had, to the outbox.
#[test]
fn links_in_the_folder_that_files_are_moved_into_are_not_written_through() {
    let there = other_device();
    let world = World::new();
    for after in [world.moving("inbox/done"), After::Move(there.path().to_path_buf())] {
        let After::Move(to) = &after else { continue };
        fs::create_dir_all(to).unwrap();
        for name in [".a.jpg.stakeout", "a.jpg", "a-1.jpg", ".a-2.jpg.stakeout"] {
            symlink(world.at("state").join(NAME), to.join(name)).unwrap();
        }
        let finisher = Arc::new(world.finisher(&after));
        assert!(finish(&taken(&finisher, &world.at("inbox/a.jpg"))).unwrap());
        world.is_untouched();
        assert_eq!(fs::read_to_string(to.join("a-2.jpg")).unwrap(), "picture");
    }
}

#[test]
fn the_folder_that_files_are_moved_into_stays_the_same_when_a_link_takes_its_place() {
    let there = other_device();
    let world = World::new();
    for after in [world.moving("inbox/done"), After::Move(there.path().join("done"))] {
        let After::Move(to) = after.clone() else { continue };
        let mut finisher = world.finisher(&after);
        finisher.hook = at_step(Step::Checked, {
            let (to, state) = (to.clone(), world.at("state"));
            move || {
                fs::rename(&to, to.with_file_name("aside")).unwrap();
                symlink(&state, &to).unwrap();
            }
        });
        let finisher = Arc::new(finisher);
        assert!(finish(&taken(&finisher, &world.at("inbox/a.jpg"))).unwrap());
        world.is_untouched();
        assert_eq!(names(&to.with_file_name("aside")), ["a.jpg"]);
        // Now the link is there before the check.
        let error = finish(&taken(&finisher, &world.at("inbox/b.jpg"))).unwrap_err();
        world.is_untouched();
        assert!(world.at("inbox/b.jpg").exists(), "{error}");
        fs::remove_file(world.at("inbox/b.jpg")).unwrap();
    }
}

#[test]
fn a_private_folder_that_is_exchanged_or_removed_leads_nowhere_and_is_made_anew() {
    let world = Arc::new(World::new());
    let path = world.at("inbox/sub").join(NAME);
    let mut finisher = world.finisher(&After::Delete);
    let private = |world: &World| {
        let entries = fs::read_dir(world.at("inbox")).unwrap().map(|entry| entry.unwrap().path());
        let is_private =
            |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(".stakeout-");
        entries.filter(|path| !path.is_symlink()).find(is_private)
    };
    finisher.hook = at_step(Step::Held, {
        let world = Arc::clone(&world);
        move || {
            let Some(folder) = private(&world) else { return };
            fs::rename(&folder, world.at("elsewhere").join(folder.file_name().unwrap())).unwrap();
            symlink(world.at("state"), &folder).unwrap();
        }
    });
    let finisher = Arc::new(finisher);
    for _ in 0..2 {
        assert!(finish(&taken(&finisher, &path)).unwrap());
        assert!(!path.exists());
        world.is_untouched();
    }
    drop(finisher);
    let finisher = Arc::new(world.finisher(&After::Delete));
    for _ in 0..2 {
        assert!(finish(&taken(&finisher, &path)).unwrap());
        fs::remove_dir(private(&world).unwrap()).unwrap();
    }
    assert!(finish(&taken(&finisher, &path)).unwrap());
    assert!(!path.exists());
}

#[test]
fn everything_works_without_the_newest_system_calls() {
    use crate::descriptors::Calls;
    for hard_links in [true, false] {
        let there = other_device();
        for index in 0..3 {
            let world = World::new();
            let mut tree = Tree::open(&world.at("inbox"), Links::Ignore, Some(&world.at("state"))).unwrap();
            tree.calls = Calls { openat2: false, rename_new: false, hard_links };
            let after = world.afters(&there)[index].clone();
            let finisher = Arc::new(Finisher::new(after.clone(), Arc::new(tree), true));
            let path = world.at("inbox/sub/a.jpg");
            for _ in 0..3 {
                assert!(finish(&taken(&finisher, &path)).unwrap(), "{after:?}");
                assert!(!path.exists());
            }
            if let After::Move(to) = after {
                assert_eq!(names(&to), ["a-1.jpg", "a-2.jpg", "a.jpg"]);
            }
            symlink(world.at("state"), world.at("inbox/link")).unwrap();
            assert!(take(&finisher, &world.at("inbox/link").join(NAME)).is_none());
            world.is_untouched();
        }
    }
}

/// Many rounds against someone who exchanges the folder for a link all the time.
#[test]
fn no_order_of_exchanges_reaches_the_state_folder() {
    let there = other_device();
    let world = World::new();
    let stop = AtomicBool::new(false);
    let (sub, real, state) = (world.at("inbox/sub"), world.at("inbox/real"), world.at("state"));
    let target = world.at("inbox/done");
    fs::create_dir(&target).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // The service may make the folder that files are moved into anew at any moment: then some of these fail.
                for (place, aside) in [(&sub, &real), (&target, &world.at("inbox/done-aside"))] {
                    let _ = fs::rename(place, aside);
                    let _ = symlink(&state, place);
                    let _ = fs::remove_file(place);
                    if *place == target {
                        let _ = fs::remove_dir_all(place);
                    }
                    let _ = fs::rename(aside, place);
                }
            }
        });
        let afters = [After::Delete, world.moving("inbox/done"), After::Move(there.path().join("done"))];
        let finishers = afters.map(|after| Arc::new(world.finisher(&after)));
        let mut finished = 0;
        for round in 0_usize.. {
            // The picture is in the folder that the link takes the place of, or behind the link.
            let _ = fs::write(real.join(NAME), "picture").or_else(|_| {
                if sub.is_symlink() {
                    Ok(())
                } else {
                    fs::OpenOptions::new().write(true).create_new(true).open(sub.join(NAME)).map(drop)
                }
            });
            let finisher = &finishers[round % 3];
            if let Some(taken) = take(finisher, &sub.join(NAME)) {
                finished += usize::from(finish(&taken).unwrap_or(false));
            }
            assert_eq!(fs::read_to_string(state.join(NAME)).unwrap(), "alerts", "round {round}");
            if round >= 1000 && finished >= 20 || round >= 200_000 {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(finished > 0, "some pictures are finished between the exchanges");
    });
    world.is_untouched();
}
