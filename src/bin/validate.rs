//! `validate`: see `validate --help`.
fn main() -> std::process::ExitCode {
    proxflow::command::exit_code("validate", Err(proxflow::command::Failure::Run("not written yet".into())))
}
