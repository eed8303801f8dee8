package snapclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff/apply"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Client is a connection to a snapshotter.
type Client struct {
	snapshots.Snapshotter
	conn *grpc.ClientConn
}

// Dial connects to the snapshotter of that name at a socket: ours, which has only one,
// or one of a containerd's.
func Dial(socket, name string) (*Client, error) {
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &Client{proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), name), conn}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// ExtractKey returns the key of the active snapshot that containerd's unpacker uses for
// a layer. The key marks the snapshot as an image's.
func ExtractKey(id string) string { return fmt.Sprintf(snapshots.UnpackKeyFormat, "1", id) }

// Unpack unpacks a layer's tar into a committed snapshot.
func Unpack(ctx context.Context, s snapshots.Snapshotter, name, parent string, tar io.ReaderAt, size int64) error {
	key := ExtractKey(name)
	mounts, err := s.Prepare(ctx, key, parent)
	if err != nil {
		return err
	}
	if err := Apply(ctx, mounts, tar, size); err != nil {
		return err
	}
	return s.Commit(ctx, name, key)
}

// Apply unpacks a layer's tar into mounts.
func Apply(ctx context.Context, mounts []mount.Mount, tar io.ReaderAt, size int64) error {
	blob := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: size}
	_, err := apply.NewFileSystemApplier(blobs{tar}).Apply(ctx, blob, mounts)
	return err
}

// ApplyBytes is Apply for a tar in memory.
func ApplyBytes(ctx context.Context, mounts []mount.Mount, tar []byte) error {
	return Apply(ctx, mounts, bytes.NewReader(tar), int64(len(tar)))
}

// blobs is a content store with one layer.
type blobs struct{ tar io.ReaderAt }

func (b blobs) ReaderAt(_ context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	return blob{io.NewSectionReader(b.tar, 0, d.Size)}, nil
}

type blob struct{ *io.SectionReader }

func (blob) Close() error { return nil }

// Mount mounts a snapshot on a new directory.
func Mount(mounts []mount.Mount) (dir string, err error) {
	dir, err = os.MkdirTemp("", "snapshot-")
	if err != nil {
		return "", err
	}
	if err := mount.All(mounts, dir); err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	return dir, nil
}

// Unmount undoes Mount.
func Unmount(dir string) error {
	if err := mount.Unmount(dir, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return os.Remove(dir)
}

// Contents returns the directories of the layers in mounts, the uppermost first.
func Contents(mounts []mount.Mount) ([]string, error) {
	if len(mounts) != 1 {
		return nil, fmt.Errorf("%d mounts, want one", len(mounts))
	}
	m := mounts[0]
	if m.Type == "bind" {
		return []string{m.Source}, nil
	}
	var upper, lowers []string
	for _, o := range m.Options {
		if dir, ok := strings.CutPrefix(o, "upperdir="); ok {
			upper = []string{dir}
		}
		if dirs, ok := strings.CutPrefix(o, "lowerdir="); ok {
			lowers = strings.Split(dirs, ":")
		}
	}
	if len(lowers) == 0 {
		return nil, fmt.Errorf("no directories in the mount %v", m)
	}
	return append(upper, lowers...), nil
}
