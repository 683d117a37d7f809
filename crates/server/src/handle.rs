//! The door to the node: requests go in with a reply to wait for, looks are run on its own thread between two steps.

use dwcp_mesh::Room;
use dwcp_roles::node::{Asked, Input, Node, Reply, Request};
use dwcp_state::FEDERATION_GROUP;
use dwcp_types::{Code, GroupId, Now, Refusal};
use tokio::sync::{mpsc, oneshot};

/// The node, looked at between two steps.
pub struct View<'a> {
    /// The machine.
    pub node: &'a Node,
    /// The time of the look.
    pub now: Now,
}

/// What the node's thread is asked to do.
pub enum Task {
    /// Something happened outside.
    Input(Input),
    /// A frame came. Its sender may send as much again once the node has taken it and the room is dropped.
    Frame(Input, Room),
    /// Somebody asks for something.
    Ask(Box<Request>, oneshot::Sender<Reply>),
    /// Somebody wants to look.
    Look(Box<dyn FnOnce(&View<'_>) + Send>),
    /// The node takes one last step and ends.
    Stop,
}

/// The door.
#[derive(Clone)]
pub struct NodeHandle {
    tasks: mpsc::UnboundedSender<Task>,
}

impl NodeHandle {
    /// The door and what comes through it.
    pub fn new() -> (NodeHandle, mpsc::UnboundedReceiver<Task>) {
        let (tasks, inbox) = mpsc::unbounded_channel();
        (NodeHandle { tasks }, inbox)
    }

    /// Tells the node what happened; nothing happens when it has stopped.
    pub fn tell(&self, input: Input) {
        // A stopped node needs to hear nothing.
        let _ = self.tasks.send(Task::Input(input));
    }

    /// Passes a frame on with the room it takes until the node has dealt with it: what waits here is bounded by that.
    pub fn receive(&self, frame: Input, room: Room) {
        // A stopped node needs to hear nothing.
        let _ = self.tasks.send(Task::Frame(frame, room));
    }

    /// Ends the node after what was said before; its thread writes what waits.
    pub fn stop(&self) {
        // It may have stopped already.
        let _ = self.tasks.send(Task::Stop);
    }

    /// Asks, and waits for the reply.
    pub async fn ask(&self, request: Request) -> Reply {
        let (sender, receiver) = oneshot::channel();
        if self.tasks.send(Task::Ask(Box::new(request), sender)).is_err() {
            return stopped();
        }
        receiver.await.unwrap_or_else(|_| stopped())
    }

    /// Waits until the facts of all groups here are as new as this call.
    ///
    /// # Errors
    /// Why a group's facts are not known to be current.
    pub async fn barrier(&self) -> Result<(), Refusal> {
        let groups = self.look(|view| {
            let regions = view.node.regions().keys().copied();
            std::iter::once(FEDERATION_GROUP).chain(regions).collect::<Vec<GroupId>>()
        });
        let mut waits = tokio::task::JoinSet::new();
        for group in groups.await.ok_or_else(stopping)? {
            let node = self.clone();
            waits.spawn(async move { node.ask(Request::Barrier(group)).await });
        }
        while let Some(done) = waits.join_next().await {
            if let Reply::Refused(refusal) = done.map_err(|_| stopping())? {
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Runs `look` on the node's thread. It must be short: the node does nothing else meanwhile.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let task = Task::Look(Box::new(move |view| {
            // Who asked may have gone away.
            let _ = sender.send(look(view));
        }));
        self.tasks.send(task).ok()?;
        receiver.await.ok()
    }
}

/// DWCP asks by itself.
pub(crate) fn own() -> Asked {
    Asked { by: "dwcp".to_owned(), ..Asked::default() }
}

/// This region's control plane is going away.
pub(crate) fn stopping() -> Refusal {
    Refusal::new(Code::NotReady, "this region's control plane is stopping")
}

fn stopped() -> Reply {
    Reply::Refused(stopping())
}
