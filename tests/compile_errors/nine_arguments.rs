// error: `Args<(u8, u8, u8, u8, u8, u8, u8, u8, u8)>` does not list the arguments of a hub method
// `(u8, u8, u8, u8, u8, u8, u8, u8, u8)` is not a tuple of at most eight types
// more values fit into a struct that derives `serde::Deserialize`

use hubcast::{Args, Hub, HubError};

async fn sum(Args(_): Args<(u8, u8, u8, u8, u8, u8, u8, u8, u8)>) -> Result<u8, HubError> {
    Ok(0)
}

pub fn hub() -> Hub {
    Hub::new("calculator").method("Sum", sum)
}
