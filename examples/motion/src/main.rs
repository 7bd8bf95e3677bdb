//! Decrypts the video in `/input/video` with the key in `/user_input/key` and the first counter in `/user_input/iv`, and
//! appends a line per frame with motion to `/output/detections`.
//!
//! Natively the four names are arguments, in this order. Exit codes: 0; 1 if key or video are wrong, 2 if a file cannot
//! be opened or written.

use std::fs::{self, File, OpenOptions};
use std::process::ExitCode;

use motion::MotionError;

const NAMES: [&str; 4] = ["/input/video", "/user_input/key", "/user_input/iv", "/output/detections"];

fn names() -> Vec<String> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if given.len() == NAMES.len() { given } else { NAMES.map(str::to_owned).to_vec() }
}

fn run(names: &[String]) -> std::io::Result<Result<u64, MotionError>> {
    let (key, iv) = (fs::read(&names[1])?, fs::read(&names[2])?);
    let video = File::open(&names[0])?;
    let detections = OpenOptions::new().create(true).append(true).open(&names[3])?;
    Ok(motion::run(video, &key, &iv, detections))
}

fn main() -> ExitCode {
    match run(&names()) {
        Ok(Ok(_)) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("{error}");
            ExitCode::from(if matches!(error, MotionError::Output(_)) { 2 } else { 1 })
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
