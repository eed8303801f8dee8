package quota

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// SpareLayer stands for the layer's ID in the record and in the properties of a spare dataset.
// No layer has this ID.
const SpareLayer = "(spare)"

// spares are child datasets that are made beforehand. ZFS waits for a transaction group when it
// creates a dataset, sets a property, writes to a new dataset's intent log for the first time,
// and unmounts a dataset that was written to. A layer that takes a spare waits for none of
// that: the spare's key becomes the layer's key, so nothing is renamed.
//
// A spare has a record like a layer's dataset, written before the dataset is created. So the
// next start finds and destroys it. Spares are made once a layer with a limit was made.
type spares struct {
	datasets *datasets
	records  records
	drop     func(key string) error // destroys a spare, or what there is of it
	most     int                    // how many spares there are at most

	awaitQuiet func(ctx context.Context, hurry <-chan struct{})
	noneReady  chan struct{} // gives something when the last spare was taken

	mu     sync.Mutex
	ready  []string
	broken []string        // keys of spares that could neither be finished nor destroyed
	taken  map[string]bool // spares that TakeSpare returned and no layer has yet
	limits Limits          // the limit that the last layer asked for
	fill   func(dir string) error
	ctx    context.Context // of the making that is under way
	stop   context.CancelFunc
	making chan struct{} // closed when the making ends; nil while none is under way
}

// TakeSpare returns the key of a spare dataset for a new layer, or "" when there is none. Make
// uses the dataset for the layer of that key. The caller returns the key if it does not make
// the layer.
func (l *Limiter) TakeSpare(s Spec) string {
	if l.spares == nil || l.mode != Dataset || s.Empty() || len(s.Properties) > 0 {
		return ""
	}
	return l.spares.take()
}

// ReturnSpare takes a key back that TakeSpare returned and no layer was made with. A dataset
// that a layer began to use is discarded.
func (l *Limiter) ReturnSpare(key string) {
	if l.discards.has(key) || !l.spares.giveBack(key) {
		l.DiscardLater(key, nil)
	}
}

// DropSpares destroys the spare datasets, and ends the making of others. No layer may be in
// the making. The next layer with a limit has spares made again.
func (l *Limiter) DropSpares() error {
	var errs []error
	for _, key := range l.spares.reset() {
		errs = append(errs, l.dropSpare(key))
	}
	return errors.Join(errs...)
}

// dropSpare destroys a spare, or what there is of it.
func (l *Limiter) dropSpare(key string) error {
	return errors.Join(l.discard(l.ctx, key), ignoreMissing(os.Remove(l.spares.datasets.stagedSpare(key))))
}

func (s *spares) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ready) == 0 {
		return ""
	}
	key := s.ready[0]
	s.ready = s.ready[1:]
	s.taken[key] = true
	if len(s.ready) == 0 {
		select {
		case s.noneReady <- struct{}{}:
		default:
		}
	}
	return key
}

func (s *spares) giveBack(key string) bool {
	if !s.claim(key) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = append(s.ready, key)
	return true
}

// claim reports whether the key is that of a spare that was taken. It answers true once.
func (s *spares) claim(key string) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	claimed := s.taken[key]
	delete(s.taken, key)
	return claimed
}

// reset ends the making, waits for its end and forgets the spares. It returns their keys.
func (s *spares) reset() []string {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	making := s.making
	if making != nil {
		s.stop()
	}
	s.mu.Unlock()
	if making != nil {
		<-making
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := append(s.ready, s.broken...)
	s.ready, s.broken = nil, nil
	return keys
}

// refill has spares made in the background, with the limit of the layer that was made last.
func (s *spares) refill(ctx context.Context, jobs *sync.WaitGroup, r Record, fill func(dir string) error) {
	if s == nil || r.Mode != Dataset || len(r.Properties) > 0 || ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits, s.fill = Limits{Bytes: r.Bytes}, fill
	if s.making != nil || len(s.ready) >= s.most {
		return
	}
	s.making = make(chan struct{})
	s.ctx, s.stop = context.WithCancel(ctx)
	jobs.Go(s.run)
}

// run makes spares until there are enough, or one cannot be made.
func (s *spares) run() {
	err := s.dropBroken()
	for err == nil && s.needsMore() {
		if s.isOneReady() {
			s.awaitQuiet(s.ctx, s.noneReady)
		}
		if s.ctx.Err() == nil {
			err = s.makeOne()
		}
	}
	if err != nil && s.ctx.Err() == nil {
		logrus.WithError(err).Warn("cannot make a spare dataset: creating a container with a limit takes longer")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	close(s.making)
	s.making = nil
}

func (s *spares) needsMore() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready) < s.most && s.ctx.Err() == nil
}

// isOneReady reports whether the next layer finds a spare. Only then the making can wait.
func (s *spares) isOneReady() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready) > 0
}

// makeOne makes a spare. On failure nothing is left, or the spare counts as broken.
func (s *spares) makeOne() error {
	s.mu.Lock()
	r, fill := Record{Layer: SpareLayer, Mode: Dataset, Limits: s.limits}, s.fill
	s.mu.Unlock()
	key := newSpareKey(time.Now())
	err := s.records.save(key, r)
	if err == nil {
		err = s.datasets.makeSpare(key, r, fill)
	}
	if err != nil {
		return errors.Join(err, s.dropOrKeep(key))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = append(s.ready, key)
	return nil
}

// newSpareKey returns a new key. Lists of datasets are sorted by name: spares come behind the
// datasets of layers that took none, and those that are taken next before those made later. So
// what a container has got is not mistaken for what was made ready after it.
func newSpareKey(now time.Time) string {
	milliseconds := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli()))[2:]
	key := "ZZ" + base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(milliseconds)
	return key + rand.Text()[len(key):]
}

// dropOrKeep destroys a spare. One that cannot be destroyed counts as broken.
func (s *spares) dropOrKeep(key string) error {
	err := s.drop(key)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broken = append(s.broken, key)
	}
	return err
}

// dropBroken destroys the spares that could not be destroyed before.
func (s *spares) dropBroken() error {
	s.mu.Lock()
	broken := s.broken
	s.broken = nil
	s.mu.Unlock()
	var errs []error
	for _, key := range broken {
		errs = append(errs, s.dropOrKeep(key))
	}
	return errors.Join(errs...)
}

func (d *datasets) stagedSpare(key string) string { return filepath.Join(d.staging, key) }

// makeSpare makes a dataset with the contents of a new layer. The content is synced once, so
// that the dataset has an intent log when its layer gets it.
func (d *datasets) makeSpare(key string, r Record, fill func(dir string) error) error {
	dir := d.stagedSpare(key)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	err := d.createFilled(key, r, dir, func(dir string) error {
		if err := fill(dir); err != nil {
			return err
		}
		return syncDir(dir)
	})
	return errors.Join(err, os.Remove(dir))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// adopt turns a spare into the layer's dataset. It reports false when the spare is not there any
// more, or is not a spare of this store.
func (d *datasets) adopt(layer Layer, r Record) (bool, error) {
	name := d.datasetName(layer.Key)
	stats, err := d.zfs.DatasetStats(name)
	if errors.Is(err, zfs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !d.isOurs(stats) || !IsSpare(stats) {
		return false, err
	}
	if stats.RefQuota() != r.Bytes {
		if err := d.zfs.SetUint(name, "refquota", r.Bytes); err != nil {
			return false, err
		}
	}
	if err := os.Mkdir(filepath.Join(layer.Dir, UpperName), 0o710); err != nil {
		return false, err
	}
	return true, linkContents(layer)
}

// IsSpare reports whether a dataset was made beforehand for a layer and has not got the ID of
// its layer yet. It may be a layer's dataset for a moment: the record says whose.
func IsSpare(stats zfs.Dataset) bool {
	layer, _ := stats.Property(LayerProperty)
	return stats.IsLocalOrReceived(LayerProperty) && layer.String() == SpareLayer
}

// nameLayer writes the ID of the layer into the properties of a dataset that was a spare. Only
// readers need it, because the record names the layer. A missing dataset is no error.
func (d *datasets) nameLayer(key string, r Record) error {
	err := d.zfs.SetString(d.datasetName(key), LayerProperty, r.Layer)
	if errors.Is(err, zfs.ErrNotExist) {
		return nil
	}
	return err
}

// nameAdopted is nameLayer for a layer whose process may have ended before it.
func (d *datasets) nameAdopted(layer Layer, r Record) error {
	stats, err := d.zfs.DatasetStats(d.datasetName(layer.Key))
	if err != nil || !d.isOurs(stats) || !IsSpare(stats) {
		return err
	}
	return d.nameLayer(layer.Key, r)
}

// withoutSpares returns the records of layers.
func withoutSpares(all map[string]*Record) map[string]*Record {
	for key, r := range all {
		if r != nil && r.Layer == SpareLayer {
			delete(all, key)
		}
	}
	return all
}
