package storemetrics

import (
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/metrics"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Observer counts what the store of one process does.
type Observer struct {
	barriers barriers
	store    *store
}

var _ overlayzfs.Observer = (*Observer)(nil)

// New returns an Observer whose metrics are served with those of m.
func New(m *metrics.Metrics, log logrus.FieldLogger) *Observer {
	o := &Observer{barriers: newBarriers(), store: newStore(log)}
	m.Register(o.store)
	m.Register(o.barriers.all()...)
	return o
}

// Watch asks r at each scrape from now on.
func (o *Observer) Watch(r Reporter) { o.store.opened(r) }

// ObserveOpen is overlayzfs.Observer's.
func (o *Observer) ObserveOpen(d *overlayzfs.Driver) { o.store.opened(d) }

// ObserveClose is overlayzfs.Observer's.
func (o *Observer) ObserveClose(d *overlayzfs.Driver) { o.store.closed(d) }

// ObserveBarrier is overlayzfs.Observer's.
func (o *Observer) ObserveBarrier(b overlayzfs.Barrier, took time.Duration, err error) {
	o.barriers.waited(b, took, err)
}
