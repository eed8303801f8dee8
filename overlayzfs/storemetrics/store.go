package storemetrics

import (
	"math"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/metrics"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Reporter is an open store that can be asked for its numbers.
type Reporter interface {
	Stats() (overlayzfs.Stats, error)
}

// store is a collector that asks the open store at each scrape. Between scrapes it costs nothing.
type store struct {
	log logrus.FieldLogger

	mu      sync.Mutex
	current Reporter // nil while no store is open
	failure string   // the last scrape's failure, so that it is logged once
}

func newStore(log logrus.FieldLogger) *store { return &store{log: log} }

func (s *store) setCurrent(r Reporter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = r
}

// clearCurrent forgets a store, unless another was opened meanwhile.
func (s *store) clearCurrent(r Reporter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == r {
		s.current = nil
	}
}

// stats asks the open store. known says whether it answered.
func (s *store) stats() (stats overlayzfs.Stats, known bool) {
	s.mu.Lock()
	current := s.current
	s.mu.Unlock()
	if current == nil {
		return stats, false
	}
	stats, err := current.Stats() // may wait for a pool, so it runs without the lock
	s.logFailure(err)
	return stats, err == nil
}

// logFailure logs a failure unless the last scrape had the same one.
func (s *store) logFailure(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	s.mu.Lock()
	news := text != s.failure
	s.failure = text
	s.mu.Unlock()
	if news && err != nil {
		s.log.WithError(err).Warn("metrics: cannot ask the store")
	}
}

// nearFull is the share of its limit from which a layer gets its own series. Series for all
// containers would be too many for Prometheus.
const nearFull = 0.8

// The metrics of a store.
var (
	storeUp       = newDesc("store_up", "1 when a store is open and answers.")
	storeInfo     = newDesc("store_info", "Which store is open; always 1.", "dataset", "pool")
	layers        = newDesc("layers", "Layers in the store.")
	mounts        = newDesc("mounts", "Layers that are mounted.")
	removals      = newDesc("removals_pending", "Removed layers whose files are still to be deleted.")
	limitedLayers = newDesc("limited_layers", "Layers with a limit.")
	nearFullCount = newDesc("limited_layers_near_full", "Layers that use 80 % of their limit or more.")
	limitUsed     = newDesc("limit_used_ratio", "Share of its limit that a layer uses; only layers at 80 % or more.", "layer", "limit")
	poolState     = newDesc("pool_state", "1 for the state of the pool.", "pool", "state")
	poolSize      = newDesc("pool_size_bytes", "Size of the pool, parity included.", "pool")
	poolAllocated = newDesc("pool_allocated_bytes", "Allocated space of the pool.", "pool")
	poolFree      = newDesc("pool_free_bytes", "Free space of the pool.", "pool")
	used          = newDesc("dataset_used_bytes", "Space of the store's dataset and all datasets below it.", "dataset")
	logical       = newDesc("dataset_logical_used_bytes", "The same before compression.", "dataset")
	snapshots     = newDesc("dataset_snapshots_used_bytes", "Space that only snapshots of the store's dataset keep.", "dataset")
	copyUp        = newDesc("copy_up_seconds", "Duration of a small file's first change in a container, measured at the start. By rename none waits for a transaction group, by tmpfile each does unless sync=disabled. NaN says that the way has changed since.", "by")
	available     = newDesc("dataset_available_bytes", "Space that can still be written to the store's dataset.", "dataset")
)

func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(metrics.Namespace, "", name), help, labels, nil)
}

// Describe implements prometheus.Collector.
func (s *store) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		storeUp, storeInfo, layers, mounts, removals, limitedLayers, nearFullCount, limitUsed,
		poolState, poolSize, poolAllocated, poolFree, used, logical, snapshots, available, copyUp,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (s *store) Collect(to chan<- prometheus.Metric) {
	stats, known := s.stats()
	g := gauges{to}
	g.set(storeUp, boolValue(known))
	if stats.Pool.Health != "" {
		g.setHealth(stats.Pool)
	}
	if !known {
		return
	}
	g.set(storeInfo, 1, stats.Dataset, stats.Pool.Name)
	g.setCopyUp(stats.CopyUp)
	if stats.Pool.Size > 0 {
		g.setPool(stats.Pool)
	}
	if stats.Space != nil {
		g.setSpace(stats.Dataset, *stats.Space)
	}
	if stats.Content != nil {
		g.setContent(*stats.Content)
	}
}

// gauges sends the results of one scrape.
type gauges struct{ to chan<- prometheus.Metric }

func (g gauges) set(d *prometheus.Desc, value float64, labels ...string) {
	g.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (g gauges) setCopyUp(c overlayzfs.CopyUp) {
	switch {
	case c.Waits != nil && c.Took == 0:
		g.set(copyUp, math.NaN(), "tmpfile")
	case c.Waits != nil:
		g.set(copyUp, c.Took.Seconds(), "tmpfile")
	case c.Took > 0:
		g.set(copyUp, c.Took.Seconds(), "rename")
	}
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// poolStates are all states of a pool.
var poolStates = []string{"ONLINE", "DEGRADED", "FAULTED", "OFFLINE", "REMOVED", "UNAVAIL", zfs.PoolSuspended}

func (g gauges) setHealth(p zfs.Pool) {
	for _, state := range poolStates {
		g.set(poolState, boolValue(state == p.Health), p.Name, state)
	}
}

func (g gauges) setPool(p zfs.Pool) {
	g.set(poolSize, float64(p.Size), p.Name)
	g.set(poolAllocated, float64(p.Allocated), p.Name)
	g.set(poolFree, float64(p.Free), p.Name)
}

func (g gauges) setSpace(dataset string, s overlayzfs.Space) {
	g.set(used, float64(s.Used), dataset)
	g.set(logical, float64(s.Logical), dataset)
	g.set(snapshots, float64(s.Snapshots), dataset)
	g.set(available, float64(s.Available), dataset)
}

func (g gauges) setContent(c overlayzfs.Content) {
	g.set(layers, float64(c.Layers))
	g.set(mounts, float64(c.Mounts))
	g.set(removals, float64(c.Removing))
	g.set(limitedLayers, float64(len(c.Limited)))
	near := 0
	for _, l := range c.Limited {
		bytes := g.setLimit(l.ID, "size", l.Usage.Bytes, l.Limits.Bytes)
		inodes := g.setLimit(l.ID, "inodes", l.Usage.Inodes, l.Limits.Inodes)
		if bytes || inodes {
			near++
		}
	}
	g.set(nearFullCount, float64(near))
}

// setLimit sends the used share of a limit from nearFull on, and reports whether it did.
func (g gauges) setLimit(layer, limit string, used, most uint64) (near bool) {
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
