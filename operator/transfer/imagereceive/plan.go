package imagereceive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
	"github.com/overlayzfs/overlayzfs/operator/transfer/images"
)

// ErrRefused is returned when a stream does not fit this host.
var ErrRefused = errors.New("refused")

// leasePrefix begins the IDs of the leases of receives.
const leasePrefix = "overlayzfs-receive-"

// Receiver says where images go. The name space of Target is Docker's, where an image stays
// when it loses its last name.
type Receiver struct {
	Target  imagestore.Target
	Discard bool // take an image's last name, with which containerd deletes it
}

// Change is a name that an image of this host loses to one of the stream.
type Change struct {
	Namespace string        `json:"namespace"`
	Name      string        `json:"name"`
	From      digest.Digest `json:"from"`
	To        digest.Digest `json:"to"`
	// Lost is set when containerd deletes the image, because it has no other name.
	Lost bool `json:"lost,omitempty"`

	dangling *imagestore.Record // the name that the image gets instead, or nil
}

// Plan is what receiving a stream does. Close it when done.
type Plan struct {
	New     int      `json:"new"`  // names that this host lacks
	Same    int      `json:"same"` // names that this host has, of the same images
	Changes []Change `json:"changes"`
	Missing int64    `json:"missing"` // bytes of blobs that this host lacks

	free     uint64 // bytes where containerd keeps blobs; the largest number where that is not known
	receiver Receiver
	stream   *images.Reader
	client   *imagestore.Client
	lease    string
}

// Close ends the connection to containerd.
func (p *Plan) Close() error { return p.client.Close() }

// Examine returns what receiving the stream would do. It changes nothing. It fails with
// fault.NotFound unless containerd runs and has the snapshotter.
func (r Receiver) Examine(ctx context.Context, stream *images.Reader) (*Plan, error) {
	client, err := imagestore.Dial(r.Target)
	if err != nil {
		return nil, err
	}
	p := &Plan{Changes: []Change{}, receiver: r, stream: stream, client: client, lease: fmt.Sprintf("%s%d", leasePrefix, time.Now().UnixNano())}
	places, err := client.FindPlaces(ctx)
	if err == nil {
		p.free = findFree(places.Content)
		err = errors.Join(p.compareNames(ctx), p.compareBlobs(ctx))
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// in returns the client for a name space and the lease of this receive.
func (p *Plan) in(namespace string) *imagestore.Client { return p.client.In(namespace, p.lease) }

// compareNames fills the plan.
func (p *Plan) compareNames(ctx context.Context) error {
	taken := map[string]bool{} // by name space and name
	for _, image := range p.stream.Index.Images {
		there, err := p.in(image.Namespace).FindName(ctx, image.Name)
		switch {
		case err != nil:
			return fmt.Errorf("image %s in name space %s: %w", image.Name, image.Namespace, err)
		case there == "":
			p.New++
		case there == image.Target.Digest:
			p.Same++
		default:
			p.Changes = append(p.Changes, Change{Namespace: image.Namespace, Name: image.Name, From: there, To: image.Target.Digest})
			taken[image.Namespace+" "+image.Name] = true
		}
	}
	for i := range p.Changes {
		if err := p.findLoss(ctx, &p.Changes[i], taken); err != nil {
			return err
		}
	}
	return nil
}

// compareBlobs adds up the blobs that are not there.
func (p *Plan) compareBlobs(ctx context.Context) error {
	for _, blob := range p.stream.Index.Blobs {
		has := false
		for _, namespace := range blob.Namespaces {
			_, err := p.in(namespace).StatBlob(ctx, blob.Digest)
			if err != nil && !errors.Is(err, fault.NotFound) {
				return fmt.Errorf("blob %s in name space %s: %w", blob.Digest, namespace, err)
			}
			if has = has || err == nil; has {
				break
			}
		}
		if !has {
			p.Missing += blob.Size
		}
	}
	return nil
}

// findFree returns the free bytes of the file system that dir is on.
func findFree(dir string) uint64 {
	var st unix.Statfs_t
	if dir == "" || unix.Statfs(dir, &st) != nil {
		return math.MaxUint64 // containerd sees other directories
	}
	return st.Bavail * uint64(st.Bsize)
}

// findLoss finds out whether the image that loses a name keeps another.
func (p *Plan) findLoss(ctx context.Context, c *Change, taken map[string]bool) error {
	records, err := p.in(c.Namespace).FindRecords(ctx, c.From)
	if err != nil {
		return fmt.Errorf("image %s in name space %s: %w", c.Name, c.Namespace, err)
	}
	for _, record := range records {
		if !taken[c.Namespace+" "+record.Name] {
			return nil
		}
	}
	if c.Namespace != p.receiver.Target.Namespace {
		c.Lost = true
		return nil
	}
	names, err := imagestore.Names(nil, c.From)
	if err != nil || len(records) == 0 {
		return err
	}
	c.dangling = &imagestore.Record{Name: names[0], Target: records[0].Target}
	return nil
}

// Check returns ErrRefused when there is no room for the blobs, and when an image would be
// lost and may not be.
func (p *Plan) Check() error {
	if uint64(p.Missing) > p.free {
		return fmt.Errorf("the images have %d bytes of blobs that are not here, and containerd's content store has room for %d: make room there: %w", p.Missing, p.free, ErrRefused)
	}
	if p.receiver.Discard {
		return nil
	}
	for _, change := range p.Changes {
		if change.Lost {
			return fmt.Errorf("image %s in name space %s has no other name here, and would be deleted: give it one (`ctr --namespace %s images tag`), or pass --discard: %w",
				change.Name, change.Namespace, change.Namespace, ErrRefused)
		}
	}
	return nil
}
