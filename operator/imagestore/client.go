package imagestore

import (
	"context"
	"errors"
	"net"
	"time"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	introspectionapi "github.com/containerd/containerd/api/services/introspection/v1"
	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/content"
	contentproxy "github.com/containerd/containerd/v2/core/content/proxy"
	"github.com/containerd/containerd/v2/core/leases"
	leasesproxy "github.com/containerd/containerd/v2/core/leases/proxy"
	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Target says where Docker's image store is.
type Target struct {
	Address     string `json:"address"` // containerd's socket
	Namespace   string `json:"namespace"`
	Snapshotter string `json:"snapshotter"`
}

// leaseID is the lease of everything that a migration writes. A Client has another by In.
const leaseID = "overlayzfs-migrate"

// Client talks to a containerd.
type Client struct {
	Target
	conn          *grpc.ClientConn
	content       content.Store
	images        imagesapi.ImagesClient
	introspection introspectionapi.IntrospectionClient
	leases        leases.Manager
	snapshots     snapshotsapi.SnapshotsClient
	diffs         diffapi.DiffClient
	blobs         *keyedLocks
	lease         string // of what is written
}

// Dial returns a client. It connects with the first call. Close it when done.
func Dial(target Target) (*Client, error) {
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", target.Address)
	}
	conn, err := grpc.NewClient("passthrough:containerd", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dial))
	if err != nil {
		return nil, err
	}
	return &Client{
		Target:        target,
		blobs:         &keyedLocks{},
		lease:         leaseID,
		conn:          conn,
		content:       contentproxy.NewContentStore(contentapi.NewContentClient(conn)),
		images:        imagesapi.NewImagesClient(conn),
		introspection: introspectionapi.NewIntrospectionClient(conn),
		leases:        leasesproxy.NewLeaseManager(leasesapi.NewLeasesClient(conn)),
		snapshots:     snapshotsapi.NewSnapshotsClient(conn),
		diffs:         diffapi.NewDiffClient(conn),
	}, nil
}

// BuildHistory returns the client for the name space in which dockerd's BuildKit keeps its
// history. It ends with c.
func (c *Client) BuildHistory() *Client {
	history := *c
	history.Namespace += "_history"
	return &history
}

// In returns the client for a name space and a lease. It ends with c.
func (c *Client) In(namespace, lease string) *Client {
	in := *c
	in.Namespace, in.lease, in.blobs = namespace, lease, &keyedLocks{}
	return &in
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// CheckNamespace returns an error for a name that no name space of containerd can have.
func CheckNamespace(name string) error { return identifiers.Validate(name) }

// named returns a context for calls in the name space.
func (c *Client) named(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, c.Namespace)
}

// leased returns a context for calls whose results belong to a lease.
func (c *Client) leased(ctx context.Context, lease string) context.Context {
	return leases.WithLease(c.named(ctx), lease)
}

// Places are directories of containerd and of the snapshotter.
type Places struct {
	Content string // of the blobs
	Layers  string // of the snapshotter's layers, or "" where containerd's configuration does not export it
}

// The types of containerd's plugins that FindPlaces asks for.
const (
	contentPlugin     = "io.containerd.content.v1"
	snapshotterPlugin = "io.containerd.snapshotter.v1"
)

// FindPlaces fails unless containerd runs and has the snapshotter.
func (c *Client) FindPlaces(ctx context.Context) (p Places, err error) {
	said, err := c.introspection.Plugins(ctx, &introspectionapi.PluginsRequest{})
	if err != nil {
		return p, fault.NewWithRemedy(fault.NotFound, "containerd does not answer on %s: %w; start it, and overlayzfs-snapshotter", c.Address, errgrpc.ToNative(err))
	}
	found := false
	for _, plugin := range said.GetPlugins() {
		switch {
		case plugin.GetInitErr() != nil:
		case plugin.GetType() == contentPlugin:
			p.Content = plugin.GetExports()["root"]
		case plugin.GetType() == snapshotterPlugin && plugin.GetID() == c.Snapshotter:
			p.Layers, found = plugin.GetExports()["root"], true
		}
	}
	if found {
		if err = c.statSnapshot(ctx, c.lease); errdefs.IsNotFound(err) {
			return p, nil
		}
	}
	return p, errors.Join(fault.NewWithRemedy(fault.NotFound,
		"the containerd on %s has no working snapshotter %q: set it up as docs/quickstart-snapshotter.md shows, and start overlayzfs-snapshotter", c.Address, c.Snapshotter), err)
}

// TakeLease makes the client's lease, unless there is one of an earlier run.
func (c *Client) TakeLease(ctx context.Context) error { return c.makeLease(ctx, c.lease) }

// TakeLeaseUntil is TakeLease for a lease that containerd ends at a time.
func (c *Client) TakeLeaseUntil(ctx context.Context, end time.Time) error {
	return c.makeLease(ctx, c.lease, leases.WithLabel(expireLabel, end.UTC().Format(time.RFC3339)))
}

// expireLabel is the label of a lease that says when containerd ends it.
const expireLabel = "containerd.io/gc.expire"

func (c *Client) makeLease(ctx context.Context, id string, more ...leases.Opt) error {
	_, err := c.leases.Create(c.named(ctx), append(more, leases.WithID(id))...)
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// ListLeases returns the IDs of the leases that want selects.
func (c *Client) ListLeases(ctx context.Context, want func(id string, labels map[string]string) bool) (ids []string, err error) {
	all, err := c.leases.List(c.named(ctx))
	for _, lease := range all {
		if want(lease.ID, lease.Labels) {
			ids = append(ids, lease.ID)
		}
	}
	return ids, err
}

// ReleaseLease ends another lease. containerd deletes what nothing holds any more.
func (c *Client) ReleaseLease(ctx context.Context, id string) error { return c.dropLease(ctx, id) }

// EndLease is ReleaseLease that waits until containerd has deleted it.
func (c *Client) EndLease(ctx context.Context, id string) error {
	return c.dropLease(ctx, id, leases.SynchronousDelete)
}

// DropLease ends the client's lease, and waits until containerd has deleted what
// nothing holds any more.
func (c *Client) DropLease(ctx context.Context) error {
	return c.dropLease(ctx, c.lease, leases.SynchronousDelete)
}

func (c *Client) dropLease(ctx context.Context, id string, how ...leases.DeleteOpt) error {
	err := c.leases.Delete(c.named(ctx), leases.Lease{ID: id}, how...)
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
