//! Tells the digits in `/input/digits.csv` with the model in `/model/digits.onnx` and writes the answer to
//! `/output/digits.csv`.
//!
//! The model is run by the instance, at the machine's own speed, and is read with this program's rights. Exit codes: 0; 1
//! if the pictures are wrong, 2 if a file cannot be read or written, 3 if the model cannot be run.

use std::process::ExitCode;

/// Pictures of one computation.
#[cfg(target_os = "wasi")]
const BATCH: usize = 100;

/// Lets the instance compute the probabilities of all pictures.
#[cfg(target_os = "wasi")]
fn infer(pixels: &[f32]) -> Result<Vec<f32>, wasi_nn::Error> {
    use classifier::{CLASSES, PIXELS};
    use wasi_nn::{ExecutionTarget, GraphBuilder, GraphEncoding, TensorType};

    let graph = GraphBuilder::new(GraphEncoding::Onnx, ExecutionTarget::CPU)
        .build_from_cache("/model/digits.onnx")?;
    let mut context = graph.init_execution_context()?;
    let mut probabilities = Vec::new();
    for batch in pixels.chunks(BATCH * PIXELS) {
        let pictures = batch.len() / PIXELS;
        context.set_input(0, TensorType::F32, &[pictures, PIXELS], batch)?;
        context.compute()?;
        let mut output = vec![0.0f32; pictures * CLASSES];
        context.get_output(0, &mut output)?;
        probabilities.extend(output);
    }
    Ok(probabilities)
}

/// Only an instance runs models for programs.
#[cfg(not(target_os = "wasi"))]
fn infer(_pixels: &[f32]) -> Result<Vec<f32>, &'static str> {
    Err("this program runs inside an instance only")
}

fn main() -> ExitCode {
    let text = match std::fs::read_to_string("/input/digits.csv") {
        Ok(text) => text,
        Err(error) => {
            eprintln!("cannot read the pictures: {error}");
            return ExitCode::from(2);
        }
    };
    let pictures = match classifier::pictures(&text) {
        Ok(pictures) => pictures,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(1);
        }
    };
    let probabilities = match infer(&pictures.pixels) {
        Ok(probabilities) => probabilities,
        Err(error) => {
            eprintln!("cannot run the model: {error}");
            return ExitCode::from(3);
        }
    };
    match std::fs::write("/output/digits.csv", classifier::answer(&pictures, &probabilities)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write the answer: {error}");
            ExitCode::from(2)
        }
    }
}
