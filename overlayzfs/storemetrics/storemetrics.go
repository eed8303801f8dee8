package storemetrics

import (
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/metrics"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Observer counts what happens to the store of one process.
type Observer struct {
	barriers barriers
	store    *store
}

var _ overlayzfs.Observer = (*Observer)(nil)

// New returns an Observer whose metrics are served with those of m.
func New(m *metrics.Metrics, log logrus.FieldLogger) *Observer {
	o := &Observer{barriers: newBarriers(), store: newStore(log)}
	m.Register(o.store)
	m.Register(o.barriers.collectors()...)
	return o
}

// Watch makes r the store that each scrape asks.
func (o *Observer) Watch(r Reporter) { o.store.setCurrent(r) }

// ObserveOpen implements overlayzfs.Observer.
func (o *Observer) ObserveOpen(d *overlayzfs.Driver) { o.store.setCurrent(d) }

// ObserveClose implements overlayzfs.Observer.
func (o *Observer) ObserveClose(d *overlayzfs.Driver) { o.store.clearCurrent(d) }

// ObserveBarrier implements overlayzfs.Observer.
func (o *Observer) ObserveBarrier(b overlayzfs.Barrier, took time.Duration, err error) {
	o.barriers.observe(b, took, err)
}
