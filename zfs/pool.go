package zfs

// Pool is a pool at one moment.
type Pool struct {
	Name string
	// Health is ONLINE, DEGRADED, FAULTED, UNAVAIL, REMOVED, OFFLINE or
	// SUSPENDED. Of a suspended pool nothing else is known.
	Health    string
	GUID      uint64
	Size      uint64 // bytes, parity included
	Allocated uint64 // bytes
	Free      uint64 // bytes
	Capacity  uint64 // percent of Size that is allocated
	ReadOnly  bool
	AutoTrim  bool // the devices are told what becomes free
}

// Suspended reports whether the pool takes no requests until its devices are
// back.
func (p Pool) Suspended() bool { return p.Health == PoolSuspended }

// PoolStats returns a pool's health and sizes. It asks the kstat for the
// health first, and answers for a suspended pool with nothing else, because
// the request would not be refused there but may block, uninterruptibly,
// until the pool is resumed. A pool that is suspended in the very moment
// between can still block the caller. (ZFS_IOC_POOL_GET_PROPS, OpenZFS 2.1 to
// 2.4.)
//
// This is the only request of this package with that trait: the module
// refuses all others with ErrSuspended while the pool is suspended. But
// every one blocks that is under way, or waits for a transaction group, when
// the pool becomes suspended; SyncPool is the likeliest.
func (h *Handle) PoolStats(pool string) (Pool, error) {
	if err := checkPool(pool); err != nil {
		return Pool{}, err
	}
	health, err := PoolState(pool)
	if err != nil {
		return Pool{}, err
	}
	p := Pool{Name: pool, Health: health}
	if p.Suspended() {
		return p, nil
	}
	c := newCommand()
	c.setName(pool)
	list, errno := h.query(iocPoolGetProps, c)
	if errno != 0 {
		return Pool{}, h.fail("get pool properties", pool, errno)
	}
	p.fill(unpackProperties(list))
	return p, nil
}

func (p *Pool) fill(properties map[string]Property) {
	p.GUID = properties["guid"].Uint()
	p.Size = properties["size"].Uint()
	p.Allocated = properties["allocated"].Uint()
	p.Free = properties["free"].Uint()
	p.Capacity = properties["capacity"].Uint()
	p.ReadOnly = properties["readonly"].Uint() != 0
	p.AutoTrim = properties["autotrim"].Uint() != 0
}
