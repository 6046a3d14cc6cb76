//! What the system knows of this process and of the others.

use std::fs::read_to_string;

/// A field of this process's status in MB, such as `VmHWM`, the most memory that it has had; 0 where there is no such file.
pub(crate) fn memory_mb(field: &str) -> f64 {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    let kb: Option<f64> = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    kb.map_or(0.0, |kb| (kb / 102.4).round() / 10.0)
}

/// Seconds of processor time that all others have used since the machine started, in ticks of 10 ms.
pub(crate) fn others_busy() -> f64 {
    let numbers = |text: &str, skip: usize, take: usize| -> Vec<f64> {
        text.split_whitespace().skip(skip).take(take).filter_map(|x| x.parse().ok()).collect()
    };
    let machine = read_to_string("/proc/stat").unwrap_or_default();
    let machine = numbers(machine.lines().next().unwrap_or_default(), 1, 8);
    let own = read_to_string("/proc/self/stat").unwrap_or_default();
    // The program's name, which may hold spaces, ends with a parenthesis; user and system time are fields 14 and 15.
    let own = numbers(own.rsplit(')').next().unwrap_or_default(), 11, 2);
    let idle: f64 = machine.iter().skip(3).take(2).sum();
    (machine.iter().sum::<f64>() - idle - own.iter().sum::<f64>()) / 100.0
}

/// The size in bytes of the first cache of a level that holds data.
pub(crate) fn cache_bytes(level: u32) -> Option<usize> {
    let folder = "/sys/devices/system/cpu/cpu0/cache";
    let read = |i: u32, file: &str| read_to_string(format!("{folder}/index{i}/{file}")).map(|s| s.trim().to_string());
    (0..8).find_map(|i| {
        let fits = read(i, "level").ok()? == level.to_string() && read(i, "type").ok()? != "Instruction";
        let size = read(i, "size").ok().filter(|_| fits)?;
        let (digits, unit) = size.split_at(size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len()));
        let unit = match unit {
            "" => 1,
            "K" => 1 << 10,
            "M" => 1 << 20,
            _ => return None,
        };
        Some(digits.parse::<usize>().ok()? * unit)
    })
}
