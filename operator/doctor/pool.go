package doctor

import (
	"fmt"

	units "github.com/docker/go-units"
)

// The use of a pool, in percent, from which it gets slow, and from which it is nearly
// full.
const (
	crowded  = 80
	overfull = 95
)

// checkPool checks the pool's health and space.
func checkPool(f Facts) []Finding {
	if f.Pool == nil {
		return nil
	}
	p := f.Pool
	health := okFinding("pool health", p.Name+" is "+p.Health)
	switch p.Health {
	case "ONLINE":
	case "DEGRADED":
		health = []Finding{{"pool health", Warning, p.Name + " is DEGRADED", "a device is missing or failing; the next one may take the data", repairCommand(f)}}
	case "SUSPENDED":
		return []Finding{{"pool health", Broken, p.Name + " is SUSPENDED", "its devices are gone, and nothing can be read or written", "zpool status " + p.Name + "; zpool clear " + p.Name + "    # when the devices are back"}}
	default:
		health = []Finding{{"pool health", Broken, p.Name + " is " + p.Health, "it cannot be relied on", "zpool status " + p.Name}}
	}
	if p.ReadOnly {
		health = append(health, Finding{"pool health", Broken, p.Name + " is imported read-only", "layers cannot be written", "zpool export " + p.Name + "; zpool import " + p.Name})
	}
	return append(health, checkSpace(f)...)
}

// repairCommand returns the commands that bring back missing devices, by their states.
func repairCommand(f Facts) string {
	remedy := ""
	for _, d := range f.Devices {
		switch d.State {
		case "ONLINE":
		case "OFFLINE", "REMOVED":
			remedy += "zpool online " + f.Pool.Name + " " + d.Path + "; "
		case "UNAVAIL":
			remedy += "zpool replace " + f.Pool.Name + " " + d.Path + " NEW-DEVICE; "
		default:
			remedy += "zpool clear " + f.Pool.Name + " " + d.Path + "; "
		}
	}
	return remedy + "zpool status -x " + f.Pool.Name
}

func checkSpace(f Facts) []Finding {
	const check = "pool space"
	found := fmt.Sprintf("%d%% of %s", f.Pool.Capacity, units.BytesSize(float64(f.Pool.Size)))
	remedy := "overlayzfs df    # what takes it; docker system prune; zfs list -t snapshot -o name,used"
	switch {
	case f.Pool.Capacity >= overfull:
		return []Finding{{check, Broken, found, "a full pool refuses writes, and databases in containers do not like that", remedy}}
	case f.Pool.Capacity >= crowded:
		return []Finding{{check, Warning, found, "ZFS gets slow when it has to look for free space", remedy}}
	}
	return okFinding(check, found)
}

// checkTrim checks whether a pool on solid-state disks trims them.
func checkTrim(f Facts) []Finding {
	const check = "autotrim"
	switch {
	case f.Pool == nil || f.Pool.Suspended():
		return nil
	case f.Pool.AutoTrim:
		return okFinding(check, "on")
	case f.SolidState:
		return []Finding{{check, Note, "off, and no disk here rotates", "solid-state disks get slow when they are not told what is free, and layers come and go", "zpool set autotrim=on " + f.Pool.Name + "    # or `zpool trim` by a timer"}}
	}
	return okFinding(check, "off")
}

// The bounds of the ARC's share of memory, as divisors.
const (
	greedy = 4 // over three quarters
	meagre = 16
)

// checkMemory compares the ARC's maximum with the host's memory.
func checkMemory(f Facts) []Finding {
	const check = "ARC"
	m := f.Memory
	if m.ARCMax == 0 || m.Total == 0 {
		return nil
	}
	found := fmt.Sprintf("up to %s of %s of memory", units.BytesSize(float64(m.ARCMax)), units.BytesSize(float64(m.Total)))
	switch {
	case m.ARCMax > m.Total-m.Total/greedy:
		return []Finding{{check, Note, found, "the cache gives memory back, but not always as fast as starting containers need it", limitARCCommand(m.Total / 2)}}
	case m.ARCMax < m.Total/meagre:
		return []Finding{{check, Note, found, "layers are read again from disk that would fit into memory", limitARCCommand(m.Total / 4)}}
	}
	return okFinding(check, found)
}

func limitARCCommand(n uint64) string {
	return fmt.Sprintf("echo %d >/sys/module/zfs/parameters/zfs_arc_max; echo 'options zfs zfs_arc_max=%d' >/etc/modprobe.d/overlayzfs-arc.conf", n, n)
}
