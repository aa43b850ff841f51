//! Rows that a thread of its own reads, as a stream.

use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::base::{ErrorKind, Result, ResultExt};

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
    stream::unfold((receive, Some(reader)), next_sent).boxed()
}

type Receiving<T> = (mpsc::Receiver<Result<T>>, Option<JoinHandle<()>>);

/// The next of what a thread sends. When there is none, the thread is asked whether it came to its end,
/// so that a panic in it is never taken for the end of the table.
async fn next_sent<T>((mut receive, reader): Receiving<T>) -> Option<(Result<T>, Receiving<T>)> {
    if let Some(sent) = receive.recv().await {
        return Some((sent, (receive, reader)));
    }
    let ended = reader?.await;
    let failed = ended.or_err(ErrorKind::Internal, "reading the table was cut off");
    failed.err().map(|error| (Err(error), (receive, None)))
}
