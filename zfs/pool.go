package zfs

// Pool is a pool at one moment.
type Pool struct {
	Name string
	// Health is ONLINE, DEGRADED, FAULTED, UNAVAIL, REMOVED, OFFLINE or SUSPENDED. For a
	// suspended pool only Name and Health are set.
	Health    string
	GUID      uint64
	Size      uint64 // bytes, parity included
	Allocated uint64 // bytes
	Free      uint64 // bytes
	Capacity  uint64 // percent of Size that is allocated
	ReadOnly  bool
	AutoTrim  bool // freed space is trimmed on the devices
	// AltRoot is the directory below which all mount points lie, of a pool that was imported
	// with one; otherwise empty.
	AltRoot string
}

// Suspended reports whether the pool takes no requests until its devices are
// back.
func (p Pool) Suspended() bool { return p.Health == PoolSuspended }

// PoolStats returns a pool's health and sizes. It reads the health from the kstat first, and
// returns only that for a suspended pool: there the request may block, uninterruptibly, until
// the pool is resumed. A pool that becomes suspended in between can still block the caller.
// (ZFS_IOC_POOL_GET_PROPS, OpenZFS 2.1 to 2.4.)
//
// The module refuses all other requests with ErrSuspended while the pool is suspended. But
// any request blocks that is under way, or waits for a transaction group, when the pool
// becomes suspended; the likeliest one is SyncPool.
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
	if altroot := properties["altroot"]; altroot.IsString() {
		p.AltRoot = altroot.String()
	}
}
