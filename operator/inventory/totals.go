package inventory

// Totals is the space that a store takes, and how far its pool is overcommitted.
type Totals struct {
	Engine     string `json:"-"` // Docker or containerd
	Dataset    string `json:"dataset"`
	Pool       Pool   `json:"pool"`
	Space      Space  `json:"space"`
	Images     Group  `json:"images"`
	Cache      Group  `json:"build_cache"`
	Containers Group  `json:"containers"`
	// Others are snapshots of containerd's that belong to no image or container.
	Others     Group      `json:"other_snapshots,omitzero"`
	Unknown    Group      `json:"unknown"`
	Snapshots  Snapshots  `json:"snapshots"`
	Overcommit Overcommit `json:"promise"`
}

// Pool is the store's pool.
type Pool struct {
	Name      string `json:"name"`
	Health    string `json:"health"`
	Size      uint64 `json:"size"`
	Allocated uint64 `json:"allocated"`
	Free      uint64 `json:"free"`
}

// Space is the space of the store's dataset and all datasets below it.
type Space struct {
	Used      uint64 `json:"used"`
	Logical   uint64 `json:"logical"` // Used before compression
	Layers    uint64 `json:"layers"`
	Limited   uint64 `json:"limited"` // datasets of limited containers
	Snapshots uint64 `json:"snapshots"`
	Available uint64 `json:"available"`
}

// Group sums up the images, containers or layers of one kind.
type Group struct {
	Count  int `json:"count"`
	Active int `json:"active,omitempty"` // images with a container, containers that run
	Layers int `json:"layers"`
	// Apparent is the size of their layers, each counted once.
	Apparent int64 `json:"apparent"`
	// Shared is the additional size if none of them shared a layer.
	Shared int64 `json:"shared,omitempty"`
}

// Snapshots is the number of overlayzfs's snapshots and the space of all snapshots.
type Snapshots struct {
	Count int    `json:"count"`
	Used  uint64 `json:"used"`
}

// Overcommit is how much more the existing containers may write than the pool has.
//
// A limited container may grow to its limit. A container without a limit shares its
// image's files until it changes them, so it counts with the size of its image, although
// nothing prevents it from writing more.
type Overcommit struct {
	Limited    int    `json:"limited"`    // containers with a limit
	Limits     uint64 `json:"limits"`     // the sum of their limits
	Free       uint64 `json:"free"`       // the part of Limits that is not used yet
	Unlimited  int    `json:"unlimited"`  // containers without a limit
	Divergence uint64 `json:"divergence"` // the size of the images that those share
	Available  uint64 `json:"available"`  // space available in the pool
	Excess     uint64 `json:"beyond"`     // Free and Divergence beyond Available
}

// CountGroups counts images, containers and all other layers.
func (inv *Inventory) CountGroups(t *Totals) {
	t.Engine = inv.Engine
	for _, l := range inv.Layers {
		group := t.group(l.Kind)
		group.Layers++
		group.Apparent += l.apparentSize()
		if group != &t.Images && group != &t.Containers {
			group.Count++
		}
	}
	used := map[string]bool{}
	for _, c := range inv.records.Containers {
		t.Containers.Count++
		if c.Running {
			t.Containers.Active++
		}
		used[c.ImageID] = true
	}
	var whole int64
	for _, image := range inv.records.Images {
		t.Images.Count++
		if used[image.ID] {
			t.Images.Active++
		}
		whole += inv.records.sumRecorded(image.Layers)
	}
	t.Images.Shared = max(0, whole-t.Images.Apparent)
}

func (t *Totals) group(k Kind) *Group {
	switch k {
	case Image:
		return &t.Images
	case Container, Init:
		return &t.Containers
	case BuildCache:
		return &t.Cache
	case Snapshot:
		return &t.Others
	}
	return &t.Unknown
}

// apparentSize returns the measured size, or else the recorded one.
func (l Layer) apparentSize() int64 {
	if l.Size != nil {
		return l.Size.Apparent
	}
	return l.Recorded
}

// ComputeOvercommit adds up what containers may still write, and compares it with the
// available space.
func (inv *Inventory) ComputeOvercommit(available uint64) Overcommit {
	p := Overcommit{Available: available}
	for _, l := range inv.Layers {
		switch {
		case l.Kind != Container:
		case l.Limit != nil && l.Limit.Bytes > 0:
			p.Limited++
			p.Limits += l.Limit.Bytes
			p.Free += l.remainingBytes()
		default:
			p.Unlimited++
			p.Divergence += uint64(inv.records.sumRecorded(inv.records.Uses[l.ID].Below))
		}
	}
	if committed := p.Free + p.Divergence; committed > available {
		p.Excess = committed - available
	}
	return p
}

// remainingBytes returns how much a limited layer may still grow.
func (l Layer) remainingBytes() uint64 {
	if l.Size == nil || l.Size.Allocated <= 0 {
		return l.Limit.Bytes
	}
	used := uint64(l.Size.Allocated)
	if used >= l.Limit.Bytes {
		return 0
	}
	return l.Limit.Bytes - used
}
