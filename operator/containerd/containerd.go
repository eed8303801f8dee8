// Package containerd asks a running containerd: its version, and whether it makes snapshots by
// a snapshotter. Package containerdconf reads its configuration, containerdstore its records.
package containerd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	introspectionapi "github.com/containerd/containerd/api/services/introspection/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	versionapi "github.com/containerd/containerd/api/services/version/v1"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/versions"
)

// DefaultAddress is the socket that containerd serves by default.
const DefaultAddress = "/run/containerd/containerd.sock"

// callTimeout ends the wait for a containerd that hangs.
const callTimeout = time.Minute

// Client asks the containerd at a socket.
type Client struct{ conn *grpc.ClientConn }

// Connect returns a client of the containerd at a socket. It does not connect yet.
func Connect(address string) (*Client, error) {
	conn, err := grpc.NewClient("unix:"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return &Client{conn}, err
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// IsModern reports whether this is containerd 2, whose plugins have other names.
func (c *Client) IsModern(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := versionapi.NewVersionClient(c.conn).Version(ctx, &emptypb.Empty{})
	if err != nil {
		return false, fmt.Errorf("ask containerd for its version: %w", err)
	}
	v, ok := versions.Parse(strings.TrimPrefix(answer.Version, "v"))
	if !ok {
		return false, fault.New(fault.Unsupported, "containerd's version %q cannot be read", answer.Version)
	}
	return v[0] >= 2, nil
}

// HasSnapshotter reports whether containerd has loaded a snapshotter.
func (c *Client) HasSnapshotter(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := introspectionapi.NewIntrospectionClient(c.conn).Plugins(ctx, &introspectionapi.PluginsRequest{Filters: []string{"id==" + name}})
	if err != nil {
		return false, fmt.Errorf("ask containerd for its plugins: %w", err)
	}
	for _, p := range answer.Plugins {
		if strings.HasPrefix(p.Type, "io.containerd.snapshotter.") && p.ID == name {
			return p.InitErr == nil, nil
		}
	}
	return false, nil
}

// The name space and the key of the snapshot that CheckSnapshotter makes.
const (
	checkNamespace = "overlayzfs-setup"
	checkKey       = "overlayzfs-setup"
)

// CheckSnapshotter makes a snapshot by a snapshotter and removes it. It fails with
// fault.NotFound when containerd has not loaded the snapshotter.
func (c *Client) CheckSnapshotter(ctx context.Context, name string) error {
	has, err := c.HasSnapshotter(ctx, name)
	if err == nil && !has {
		err = fault.New(fault.NotFound, "containerd has not loaded the snapshotter %s: look whether /etc/containerd/config.toml, or a file that it imports, has [proxy_plugins.%s]; `journalctl -u containerd` says why", name, name)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(namespaces.WithNamespace(ctx, checkNamespace), callTimeout)
	defer cancel()
	client := snapshotsapi.NewSnapshotsClient(c.conn)
	remove := func() error {
		_, err := client.Remove(ctx, &snapshotsapi.RemoveSnapshotRequest{Snapshotter: name, Key: checkKey})
		return ignoreNotFound(err)
	}
	if err := remove(); err != nil { // of a setup that was killed
		return fmt.Errorf("snapshotter %s: %w", name, err)
	}
	_, err = client.Prepare(ctx, &snapshotsapi.PrepareSnapshotRequest{
		Snapshotter: name, Key: checkKey, Labels: map[string]string{"containerd.io/gc.root": time.Now().UTC().Format(time.RFC3339)},
	})
	err = errors.Join(err, remove())
	_, deleteErr := namespacesapi.NewNamespacesClient(c.conn).Delete(ctx, &namespacesapi.DeleteNamespaceRequest{Name: checkNamespace})
	if err := errors.Join(err, ignoreNotFound(deleteErr)); err != nil {
		return fmt.Errorf("make a snapshot by snapshotter %s: %w", name, err)
	}
	return nil
}

func ignoreNotFound(err error) error {
	if status.Code(err) == codes.NotFound {
		return nil
	}
	return err
}
