//! Methods with streams.

use actix_web::rt;
use futures_util::{TryStreamExt, stream};
use hubcast::{Args, Caller, Clients, Hub, HubError, HubStream, UploadStream, hub::Target};

use crate::hubs::failure;

/// Adds the methods to a hub.
pub(super) fn add_to(hub: Hub) -> Hub {
    hub.method("Stream", async || Ok(HubStream::new(stream::iter(["a", "b", "c"]))))
        .method("EmptyStream", async || Ok(HubStream::new(stream::empty::<i32>())))
        .method("InfiniteStream", infinite_stream)
        .method("StreamThrowException", async |Args((message,)): Args<(String,)>| {
            Err::<HubStream<String>, _>(failure(&message))
        })
        .method("StreamingConcat", async |parts: UploadStream<String>| {
            let parts: Vec<_> = parts.try_collect().await?;
            Ok::<_, HubError>(parts.concat())
        })
}

/// Tells the client when it is dropped.
struct CancellationReport(Option<Target>);

impl Drop for CancellationReport {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            rt::spawn(client.send("StreamCanceled", ()));
        }
    }
}

/// A stream without items.
async fn infinite_stream(caller: Caller, clients: Clients) -> Result<HubStream<String>, HubError> {
    let report = CancellationReport(Some(clients.client(caller.id().clone())));
    let never = stream::once(async move {
        std::future::pending::<()>().await;
        drop(report);
        String::new()
    });
    Ok(HubStream::new(never))
}
