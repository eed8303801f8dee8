package storemetrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/overlayzfs/overlayzfs/internal/metrics"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// barriers counts waits for the disk.
type barriers struct {
	seconds *prometheus.HistogramVec
	errors  *prometheus.CounterVec
}

// barrierBuckets span milliseconds, which a transaction group takes on flash, to seconds on a busy
// pool.
var barrierBuckets = prometheus.ExponentialBuckets(0.001, 2, 15)

func newBarriers() barriers {
	b := barriers{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: metrics.Namespace, Name: "barrier_duration_seconds", Help: "Duration of waits for the disk, by transaction group (txg) or intent log (zil).",
			Buckets: barrierBuckets,
		}, []string{"by"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "barrier_errors_total", Help: "Waits for the disk that failed.",
		}, []string{"by"}),
	}
	for _, by := range []overlayzfs.Barrier{overlayzfs.TxgBarrier, overlayzfs.IntentLogBarrier} {
		b.seconds.WithLabelValues(string(by))
		b.errors.WithLabelValues(string(by))
	}
	return b
}

func (b barriers) collectors() []prometheus.Collector {
	return []prometheus.Collector{b.seconds, b.errors}
}

func (b barriers) observe(by overlayzfs.Barrier, took time.Duration, err error) {
	b.seconds.WithLabelValues(string(by)).Observe(took.Seconds())
	if err != nil {
		b.errors.WithLabelValues(string(by)).Inc()
	}
}
