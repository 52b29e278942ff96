//! `mnist`: see `mnist --help`.
fn main() -> std::process::ExitCode {
    proxflow::command::exit_code("mnist", Err(proxflow::command::Failure::Run("not written yet".into())))
}
