package imagestore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// blobBuffer is how much of a blob goes into one message. gRPC takes 4 MiB.
const blobBuffer = 1 << 20

// WriteBlob stores what write writes and returns its size. It fails when the digest is
// another. A blob that is there already is not written again.
func (c *Client) WriteBlob(ctx context.Context, want digest.Digest, labels map[string]string, write func(w io.Writer) error) (int64, error) {
	release := c.blobs.lock(string(want))
	defer release()
	ctx = c.leased(ctx, c.lease)
	if err := c.writeBlob(ctx, want, labels, write); err != nil && !errdefs.IsAlreadyExists(err) {
		return 0, fmt.Errorf("write blob %s: %w", want, err)
	}
	info, err := c.content.Info(ctx, want)
	if err != nil {
		return 0, fmt.Errorf("blob %s: %w", want, err)
	}
	return info.Size, c.labelBlob(ctx, info, labels)
}

func (c *Client) writeBlob(ctx context.Context, want digest.Digest, labels map[string]string, write func(w io.Writer) error) (err error) {
	ref := c.lease + "-" + want.Encoded()
	// A killed run leaves a part of the blob.
	if err := c.content.Abort(ctx, ref); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	w, err := content.OpenWriter(ctx, c.content, content.WithRef(ref), content.WithDescriptor(ocispec.Descriptor{Digest: want}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	status, err := w.Status()
	if err != nil {
		return err
	}
	if status.Offset == 0 { // otherwise another name space has the blob
		out := bufio.NewWriterSize(w, blobBuffer)
		if err := write(out); err != nil {
			return errors.Join(err, c.content.Abort(context.WithoutCancel(ctx), ref))
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	return w.Commit(ctx, 0, want, content.WithLabels(labels))
}

// LabelBlob adds labels to a blob, which has to be there.
func (c *Client) LabelBlob(ctx context.Context, d digest.Digest, labels map[string]string) error {
	ctx = c.named(ctx)
	info, err := c.content.Info(ctx, d)
	if err == nil {
		err = c.labelBlob(ctx, info, labels)
	}
	if err != nil {
		return fmt.Errorf("label blob %s: %w", d, err)
	}
	return nil
}

// StatBlob returns the size of a blob. It fails with fault.NotFound for one that the name
// space lacks.
func (c *Client) StatBlob(ctx context.Context, d digest.Digest) (int64, error) {
	info, err := c.content.Info(c.named(ctx), d)
	if errdefs.IsNotFound(err) {
		return 0, fault.New(fault.NotFound, "containerd has no blob %s in name space %s", d, c.Namespace)
	}
	return info.Size, err
}

// ReadBlob returns the content of a blob of at most limit bytes.
func (c *Client) ReadBlob(ctx context.Context, d digest.Digest, limit int64) ([]byte, error) {
	size, err := c.StatBlob(ctx, d)
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fault.New(fault.UnsafeInput, "blob %s has %d bytes, more than %d", d, size, limit)
	}
	return content.ReadBlob(c.named(ctx), c.content, ocispec.Descriptor{Digest: d, Size: size})
}

// CopyBlob writes the content of a blob.
func (c *Client) CopyBlob(ctx context.Context, d digest.Digest, w io.Writer) error {
	r, err := c.content.ReaderAt(c.named(ctx), ocispec.Descriptor{Digest: d})
	if err != nil {
		return err
	}
	_, err = io.Copy(w, content.NewReader(r))
	return errors.Join(err, r.Close())
}

// labelBlob adds labels to a blob that was there before.
func (c *Client) labelBlob(ctx context.Context, info content.Info, labels map[string]string) error {
	var missing []string
	for key, value := range labels {
		if info.Labels[key] != value {
			missing = append(missing, "labels."+key)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err := c.content.Update(ctx, content.Info{Digest: info.Digest, Labels: labels}, missing...)
	return err
}

// keyedLocks are locks by name. Two chains of layers can have the same tar.
type keyedLocks struct {
	mu    sync.Mutex
	locks map[string]*sync.Mutex
}

func (k *keyedLocks) lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*sync.Mutex{}
	}
	one, ok := k.locks[key]
	if !ok {
		one = &sync.Mutex{}
		k.locks[key] = one
	}
	k.mu.Unlock()
	one.Lock()
	return one.Unlock
}
