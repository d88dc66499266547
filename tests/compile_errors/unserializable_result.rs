// error: the trait bound `Position: serde::Serialize` is not satisfied
// for local types consider adding `#[derive(serde::Serialize)]` to your `Position` type

use hubcast::{Hub, HubError};

pub struct Position;

async fn position() -> Result<Position, HubError> {
    Ok(Position)
}

pub fn hub() -> Hub {
    Hub::new("game").method("Position", position)
}
