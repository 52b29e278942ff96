//! `torus`: see `torus --help`.
fn main() -> std::process::ExitCode {
    proxflow::command::exit_code("torus", Err(proxflow::command::Failure::Run("not written yet".into())))
}
