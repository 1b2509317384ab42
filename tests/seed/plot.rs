//! What there is to be: names only, always the same.

/// What tasks are about, and the kind of task that it mostly makes. Topics are labels.
pub(crate) const TOPICS: [(&str, &str); 5] = [
    ("billing", "analysis"),
    ("search", "research"),
    ("security", "code-review"),
    ("onboarding", "writing"),
    ("reliability", "analysis"),
];

const TENANTS: [(&str, u32); 3] = [("seed-north", 3), ("seed-south", 2), ("seed-west", 1)];
const AGENTS: usize = 20;
const TASKS_PER_TOPIC: usize = 2;

/// A tenant and what belongs to it.
#[derive(Debug)]
pub(crate) struct Plot {
    pub(crate) name: &'static str,
    pub(crate) weight: u32,
    pub(crate) agents: Vec<Agent>,
    pub(crate) tasks: Vec<Task>,
}

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) topic: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) slots: usize,
}

#[derive(Debug)]
pub(crate) struct Task {
    /// The same at each run.
    pub(crate) key: String,
    pub(crate) title: String,
    pub(crate) topic: &'static str,
    pub(crate) kind: &'static str,
}

/// The tenants, with agents and tasks in turn.
pub(crate) fn all() -> Vec<Plot> {
    let agent = |index: usize| {
        let (topic, kind) = TOPICS[index % TOPICS.len()];
        Agent {
            name: format!("seed-{topic}-{}", index + 1),
            topic,
            kind,
            slots: 1 + index % 4,
        }
    };
    let task = |(number, (topic, kind)): (usize, (&'static str, &'static str))| Task {
        key: format!("seed/task/{topic}/{number}"),
        title: format!("Look into {topic}, part {number}"),
        topic,
        kind,
    };
    let tenants = TENANTS.iter().enumerate();
    tenants
        .map(|(place, (name, weight))| Plot {
            name,
            weight: *weight,
            agents: (0..AGENTS)
                .filter(|index| index % TENANTS.len() == place)
                .map(agent)
                .collect(),
            tasks: (1..=TASKS_PER_TOPIC)
                .flat_map(|number| TOPICS.map(|topic| task((number, topic))))
                .collect(),
        })
        .collect()
}
