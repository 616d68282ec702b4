//! The memory that the process may have.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Returns the bytes of memory that the process may have: the least of its control groups' limits
/// and of what the machine has. `None` where nothing is known.
pub(super) fn memory() -> Option<usize> {
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = group_limits(&groups).into_iter().filter_map(number_in);
    limits.chain(machine_memory()).min()
}

fn machine_memory() -> Option<usize> {
    let info = read_to_string("/proc/meminfo").ok()?;
    let total = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = total.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

fn number_in(file: PathBuf) -> Option<usize> {
    read_to_string(file).ok()?.trim().parse().ok()
}

/// Returns the files that limit the control groups of `/proc/self/cgroup`, of either version, and
/// the groups around them: in a container its own group is the root.
fn group_limits(groups: &str) -> Vec<PathBuf> {
    let files = |root: &str, group: &str, file: &str| -> Vec<PathBuf> {
        let folder = Path::new(root).join(group.trim_start_matches('/'));
        let around = folder
            .ancestors()
            .take_while(|folder| folder.starts_with(root));
        around.map(|folder| folder.join(file)).collect()
    };
    let mut found = Vec::new();
    for line in groups.lines() {
        match *line.splitn(3, ':').collect::<Vec<_>>() {
            ["0", "", group] => found.extend(files("/sys/fs/cgroup", group, "memory.max")),
            [_, "memory", group] => {
                let file = "memory.limit_in_bytes";
                found.extend(files("/sys/fs/cgroup/memory", group, file));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{group_limits, memory};

    #[test]
    fn groups_of_both_versions_are_found() {
        let groups = "4:memory:/jobs/7\n2:cpu:/\n0::/app\n";
        let files: Vec<_> = group_limits(groups)
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        assert_eq!(
            files,
            [
                "/sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/app/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert!(group_limits("nonsense\n").is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn there_is_some_memory() {
        assert!(memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
