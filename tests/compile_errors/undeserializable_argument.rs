// error: `Position` cannot be an argument of a hub method
// add `#[derive(serde::Deserialize)]` to the type, or enable the `serde` feature of its crate

use hubcast::{Args, Hub, HubError};

pub struct Position;

async fn go(Args((_to,)): Args<(Position,)>) -> Result<(), HubError> {
    Ok(())
}

pub fn hub() -> Hub {
    Hub::new("game").method("Go", go)
}
