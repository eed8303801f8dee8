package zfs

import "github.com/overlayzfs/overlayzfs/zfs/nvlist"

// Device is a disk, file or missing part of a pool.
type Device struct {
	Path  string
	State string // ONLINE, OFFLINE, REMOVED, UNAVAIL, FAULTED or DEGRADED
}

// deviceStates are the words of zpool(8) for vdev_state_t (include/sys/fs/zfs.h).
var deviceStates = []string{"UNKNOWN", "CLOSED", "OFFLINE", "REMOVED", "UNAVAIL", "FAULTED", "DEGRADED", "ONLINE"}

// statsState is where vdev_stat_t has vs_state, counted in numbers.
const statsState = 1

// PoolDevices lists the devices with a pool's data, without spares and caches. Like
// PoolStats's request it can block on a suspended pool: do not call it for one.
// (ZFS_IOC_POOL_STATS, OpenZFS 2.1 to 2.4.)
func (h *Handle) PoolDevices(pool string) ([]Device, error) {
	if err := checkPool(pool); err != nil {
		return nil, err
	}
	c := newCommand()
	c.setName(pool)
	config, errno := h.query(iocPoolStats, c)
	if errno != 0 {
		return nil, h.fail("get configuration", pool, errno)
	}
	tree, _ := config.List("vdev_tree")
	return leaves(tree), nil
}

// leaves returns the devices below a vdev, such as those of a mirror.
func leaves(vdev nvlist.List) (devices []Device) {
	children, _ := vdev.Lookup("children")
	parts, _ := children.([]nvlist.List)
	for _, part := range parts {
		devices = append(devices, leaves(part)...)
	}
	if path, ok := vdev.String("path"); ok && len(parts) == 0 {
		devices = append(devices, Device{path, deviceState(vdev)})
	}
	return devices
}

func deviceState(vdev nvlist.List) string {
	value, _ := vdev.Lookup("vdev_stats")
	stats, _ := value.([]uint64)
	if len(stats) <= statsState || stats[statsState] >= uint64(len(deviceStates)) {
		return deviceStates[0]
	}
	return deviceStates[stats[statsState]]
}
