// error: implementation of `OwnedArgument` is not general enough
// `&str` must implement `OwnedArgument<'0>`, for any lifetime `'0`

use hubcast::{Args, Hub, HubError};

async fn length(Args((text,)): Args<(&str,)>) -> Result<usize, HubError> {
    Ok(text.len())
}

pub fn hub() -> Hub {
    Hub::new("text").method("Length", length)
}
