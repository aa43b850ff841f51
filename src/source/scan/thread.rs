//! Rows that a thread of its own reads, as a stream.

use futures::stream::{BoxStream, StreamExt};
use tokio::sync::mpsc;

use crate::base::{Error, ErrorKind, Result, sent_by};

/// What `read` sends, from a thread that may block. The thread ends when the stream is dropped, for then
/// nothing more can be sent; an error that it returns is the last thing that comes.
pub(crate) fn stream_from_thread<T: Send + 'static>(
    read: impl FnOnce(&mpsc::Sender<Result<T>>) -> Result<()> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let (send, receive) = mpsc::channel(1);
    let reader = tokio::task::spawn_blocking(move || {
        if let Err(error) = read(&send) {
            // Nobody is left to tell if this fails.
            let _ = send.blocking_send(Err(error));
        }
    });
    let cut =
        |error| Error::new(ErrorKind::Internal, "reading the table was cut off").because(error);
    sent_by(receive, reader, cut).boxed()
}
