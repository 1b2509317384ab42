//! Whether the files of a deployment are what they say: they are read by the published models of their formats, and
//! compared with each other and with our own commands. `docs/deployment.md` tells how they are used.

mod compose;
mod containerfile;
mod manifests;

/// The text of a file of the workspace.
fn read(path: &str) -> String {
    let file = crate::workspace::Workspace::load().unwrap().root.join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"))
}
