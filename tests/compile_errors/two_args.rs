// error: evaluation panicked: a hub method takes its arguments with one `Args`: write `Args<(A, B)>` for two arguments

use hubcast::{Args, Hub, HubError};

async fn add(Args((a,)): Args<(i64,)>, Args((b,)): Args<(i64,)>) -> Result<i64, HubError> {
    Ok(a + b)
}

pub fn hub() -> Hub {
    Hub::new("calculator").method("Add", add)
}
