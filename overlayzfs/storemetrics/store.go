package storemetrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/metrics"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Reporter is an open store.
type Reporter interface {
	Stats() (overlayzfs.Stats, error)
}

// store is a collector that asks the open store at each scrape. Nothing is
// counted while nobody looks.
type store struct {
	log logrus.FieldLogger

	mu      sync.Mutex
	current Reporter // nil while none is open
	failure string   // of the last scrape, so that the log has it once
}

func newStore(log logrus.FieldLogger) *store { return &store{log: log} }

func (s *store) opened(r Reporter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = r
}

// closed forgets a store, unless another was opened meanwhile.
func (s *store) closed(r Reporter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == r {
		s.current = nil
	}
}

// stats asks the open store; known says whether there is an answer.
func (s *store) stats() (stats overlayzfs.Stats, known bool) {
	s.mu.Lock()
	current := s.current
	s.mu.Unlock()
	if current == nil {
		return stats, false
	}
	stats, err := current.Stats() // may wait for a pool: not with the lock
	s.note(err)
	return stats, err == nil
}

// note logs a failure when it is news.
func (s *store) note(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	s.mu.Lock()
	news := text != s.failure
	s.failure = text
	s.mu.Unlock()
	if news && err != nil {
		s.log.WithError(err).Warn("metrics: the store cannot be asked")
	}
}

// nearFull is how much of its limit a layer uses when it gets a series of its
// own. One for every container would be more than Prometheus wants.
const nearFull = 0.8

// The metrics of a store.
var (
	storeUp       = desc("store_up", "1 when a store is open and could be asked.")
	storeInfo     = desc("store_info", "Which store is open; always 1.", "dataset", "pool")
	layers        = desc("layers", "Layers in the store.")
	mounts        = desc("mounts", "Layers that are mounted.")
	removals      = desc("removals_pending", "Removed layers whose files are still to be deleted.")
	limitedLayers = desc("limited_layers", "Layers with a limit of their own.")
	nearFullCount = desc("limited_layers_near_full", "Layers that use 80 % of their limit or more.")
	limitUsed     = desc("limit_used_ratio", "How much of its limit a layer uses; only of those that use 80 % or more.", "layer", "limit")
	poolState     = desc("pool_state", "1 for the state that the pool is in.", "pool", "state")
	poolSize      = desc("pool_size_bytes", "Size of the pool, parity included.", "pool")
	poolAllocated = desc("pool_allocated_bytes", "What of the pool is allocated.", "pool")
	poolFree      = desc("pool_free_bytes", "What of the pool is free.", "pool")
	used          = desc("dataset_used_bytes", "What the store's dataset takes, with all below it.", "dataset")
	logical       = desc("dataset_logical_used_bytes", "The same before compression.", "dataset")
	snapshots     = desc("dataset_snapshots_used_bytes", "What only snapshots of the store's dataset keep.", "dataset")
	available     = desc("dataset_available_bytes", "What can still be written to the store's dataset.", "dataset")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(metrics.Namespace, "", name), help, labels, nil)
}

// Describe is prometheus.Collector's.
func (s *store) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		storeUp, storeInfo, layers, mounts, removals, limitedLayers, nearFullCount, limitUsed,
		poolState, poolSize, poolAllocated, poolFree, used, logical, snapshots, available,
	} {
		to <- d
	}
}

// Collect is prometheus.Collector's.
func (s *store) Collect(to chan<- prometheus.Metric) {
	stats, known := s.stats()
	g := gauges{to}
	g.set(storeUp, truth(known))
	if stats.Pool.Health != "" {
		g.health(stats.Pool)
	}
	if !known {
		return
	}
	g.set(storeInfo, 1, stats.Dataset, stats.Pool.Name)
	if stats.Pool.Size > 0 {
		g.pool(stats.Pool)
	}
	if stats.Space != nil {
		g.space(stats.Dataset, *stats.Space)
	}
	if stats.Content != nil {
		g.content(*stats.Content)
	}
}

// gauges are what one scrape found.
type gauges struct{ to chan<- prometheus.Metric }

func (g gauges) set(d *prometheus.Desc, value float64, labels ...string) {
	g.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// states are all that a pool can be in.
var states = []string{"ONLINE", "DEGRADED", "FAULTED", "OFFLINE", "REMOVED", "UNAVAIL", zfs.PoolSuspended}

func (g gauges) health(p zfs.Pool) {
	for _, state := range states {
		g.set(poolState, truth(state == p.Health), p.Name, state)
	}
}

func (g gauges) pool(p zfs.Pool) {
	g.set(poolSize, float64(p.Size), p.Name)
	g.set(poolAllocated, float64(p.Allocated), p.Name)
	g.set(poolFree, float64(p.Free), p.Name)
}

func (g gauges) space(dataset string, s overlayzfs.Space) {
	g.set(used, float64(s.Used), dataset)
	g.set(logical, float64(s.Logical), dataset)
	g.set(snapshots, float64(s.Snapshots), dataset)
	g.set(available, float64(s.Available), dataset)
}

func (g gauges) content(c overlayzfs.Content) {
	g.set(layers, float64(c.Layers))
	g.set(mounts, float64(c.Mounts))
	g.set(removals, float64(c.Removing))
	g.set(limitedLayers, float64(len(c.Limited)))
	near := 0
	for _, l := range c.Limited {
		bytes := g.limit(l.ID, "size", l.Usage.Bytes, l.Limits.Bytes)
		inodes := g.limit(l.ID, "inodes", l.Usage.Inodes, l.Limits.Inodes)
		if bytes || inodes {
			near++
		}
	}
	g.set(nearFullCount, float64(near))
}

// limit reports whether a limit is nearly reached.
func (g gauges) limit(layer, limit string, used, most uint64) (near bool) {
	if most == 0 {
		return false
	}
	ratio := float64(used) / float64(most)
	if ratio < nearFull {
		return false
	}
	g.set(limitUsed, ratio, layer, limit)
	return true
}
