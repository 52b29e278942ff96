use clap::Args;
use proxflow::command::Failure;
#[derive(Args, Clone)]
pub struct Arguments {}
pub fn run(_: Arguments) -> Result<(), Failure> {
    Err(Failure::Run("soon".into()))
}
