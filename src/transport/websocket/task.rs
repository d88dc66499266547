//! A WebSocket that has its socket for itself, on a server of this crate.
//!
//! One task reads and writes. Frames of a broadcast are written by the broadcast itself if the socket is not encrypted
//! and belongs to the same thread ([`OutboxReader::enable_direct_write`]).

use futures_util::{StreamExt, future::LocalBoxFuture};
use tokio::time::timeout;

use super::{
    CLOSE_HANDSHAKE_TIMEOUT, ReadHalf, WebSocketActor, read_frames,
    writer::{WriteEnd, write_until_end},
};
use crate::{
    outbox::OutboxReader,
    transport::upgrade::{SharedStream, close},
};

/// A WebSocket that an endpoint has accepted, before it has its socket.
pub(in crate::transport) struct AcceptedWebSocket {
    actor: WebSocketActor,
    reader: OutboxReader,
}

impl AcceptedWebSocket {
    pub(super) fn new(actor: WebSocketActor, reader: OutboxReader) -> Self {
        Self { actor, reader }
    }

    /// Reads and writes frames until both halves have ended, then closes the socket.
    pub(in crate::transport) fn serve(self, stream: SharedStream) -> LocalBoxFuture<'static, ()> {
        let reading = read_frames(self.actor, stream.clone());
        if let Some(tcp) = stream.unencrypted() {
            self.reader.enable_direct_write(tcp.sink());
        }
        let writing = Box::pin(write_until_end(self.reader, stream.clone()));
        Box::pin(read_and_write(reading, writing, stream))
    }
}

async fn read_and_write(mut reading: ReadHalf, mut writing: LocalBoxFuture<'static, WriteEnd>, stream: SharedStream) {
    let mut is_read_done = false;
    let end = loop {
        tokio::select! {
            biased;
            () = read_to_end(&mut reading), if !is_read_done => is_read_done = true,
            end = &mut writing => break end,
        }
    };
    // Boxed, so that an open WebSocket does not occupy its memory.
    Box::pin(finish(reading, is_read_done, end, stream)).await;
}

/// Polls the reading half, which writes nothing, until it has ended.
async fn read_to_end(reading: &mut ReadHalf) {
    while let Some(Ok(_)) = reading.next().await {}
}

/// Wire: the peer answers a close frame, and the server closes the TCP connection first (RFC 6455 section 7.1.1).
async fn finish(mut reading: ReadHalf, is_read_done: bool, end: WriteEnd, stream: SharedStream) {
    let WriteEnd { reader, has_close_frame } = end;
    if has_close_frame && !is_read_done {
        // A peer that does not answer in time is cut.
        let _ = timeout(CLOSE_HANDSHAKE_TIMEOUT, read_to_end(&mut reading)).await;
    }
    drop((reading, reader));
    close(stream).await;
}
