//! The pictures that a command line means: one to four files, or a directory of them.

use std::path::PathBuf;

use homing_models::MAX_VIEWS;

/// Why the pictures of a panorama cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum NamingError {
    /// The directory cannot be listed.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A directory has no picture, or too many were named.
    #[error("{0}")]
    Count(String),
}

/// The pictures that arguments mean: one to four files, or one directory.
///
/// Files of a directory named after the cameras (front, right, back, left) come in that order, others by name.
///
/// # Errors
/// When there are none or more than four.
pub fn named(arguments: &[PathBuf]) -> Result<Vec<PathBuf>, NamingError> {
    let [dir] = arguments else {
        return at_most_four(arguments.to_vec(), "the command line");
    };
    if !dir.is_dir() {
        return Ok(arguments.to_vec());
    }
    let entries = std::fs::read_dir(dir).map_err(|source| NamingError::Unreadable { path: dir.clone(), source })?;
    let picture = |p: &PathBuf| {
        let extension = p.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        ["jpg", "jpeg", "png"].contains(&extension.as_str())
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(picture).collect();
    let camera = |p: &PathBuf| {
        let name = p.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_ascii_lowercase();
        homing_board::CAMERA_NAMES.iter().position(|c| name.contains(c)).unwrap_or(MAX_VIEWS)
    };
    files.sort_by_key(|p| (camera(p), p.clone()));
    at_most_four(files, &dir.display().to_string())
}

fn at_most_four(files: Vec<PathBuf>, of: &str) -> Result<Vec<PathBuf>, NamingError> {
    match files.len() {
        1..=MAX_VIEWS => Ok(files),
        0 => Err(NamingError::Count(format!("{of} has no .jpg, .jpeg or .png picture; name one to four"))),
        n => {
            Err(NamingError::Count(format!("{of} has {n} pictures; a panorama has one to four: front right back left")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_directory_gives_its_pictures_in_camera_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["left.jpg", "cam_back.PNG", "front.png", "right.jpeg", "notes.txt"] {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        let names = |paths: Vec<PathBuf>| -> Vec<String> {
            paths.iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        let of = |p: &Path| named(&[p.to_owned()]);
        assert_eq!(names(of(dir.path()).unwrap()), ["front.png", "right.jpeg", "cam_back.PNG", "left.jpg"]);
        std::fs::write(dir.path().join("fifth.jpg"), b"").unwrap();
        assert!(of(dir.path()).unwrap_err().to_string().contains("has 5 pictures"));
        assert!(named(&vec!["a".into(); 5]).unwrap_err().to_string().contains("front right back left"));
    }
}
