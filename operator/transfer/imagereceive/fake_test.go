package imagereceive

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	introspectionapi "github.com/containerd/containerd/api/services/introspection/v1"
	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// space is a name space of a fakeContainerd.
type space struct {
	blobs     map[string][]byte
	labels    map[string]map[string]string // of blobs
	images    map[string]*imagesapi.Image
	leases    map[string]map[string]string // labels
	snapshots map[string]bool
}

// fakeContainerd is a containerd in memory, whose name spaces share no content.
type fakeContainerd struct {
	contentapi.UnimplementedContentServer
	mu      sync.Mutex
	spaces  map[string]*space
	written int // blobs
}

// The other services, which have methods of the same names.
type (
	fakeImages struct {
		imagesapi.UnimplementedImagesServer
		all *fakeContainerd
	}
	fakeLeases struct {
		leasesapi.UnimplementedLeasesServer
		all *fakeContainerd
	}
	fakeSnapshots struct {
		snapshotsapi.UnimplementedSnapshotsServer
		all *fakeContainerd
	}
	fakeDiff struct {
		diffapi.UnimplementedDiffServer
		all *fakeContainerd
	}
	fakeIntrospection struct {
		introspectionapi.UnimplementedIntrospectionServer
	}
)

// startContainerd returns a containerd and its socket.
func startContainerd(t *testing.T) (c *fakeContainerd, address string) {
	t.Helper()
	c = &fakeContainerd{spaces: map[string]*space{}}
	address = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	contentapi.RegisterContentServer(server, c)
	imagesapi.RegisterImagesServer(server, fakeImages{all: c})
	leasesapi.RegisterLeasesServer(server, fakeLeases{all: c})
	snapshotsapi.RegisterSnapshotsServer(server, fakeSnapshots{all: c})
	diffapi.RegisterDiffServer(server, fakeDiff{all: c})
	introspectionapi.RegisterIntrospectionServer(server, fakeIntrospection{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return c, address
}

// in returns a name space.
func (c *fakeContainerd) in(name string) *space {
	s := c.spaces[name]
	if s == nil {
		s = &space{map[string][]byte{}, map[string]map[string]string{}, map[string]*imagesapi.Image{}, map[string]map[string]string{}, map[string]bool{}}
		c.spaces[name] = s
	}
	return s
}

// of locks, and returns the name space of a call.
func (c *fakeContainerd) of(ctx context.Context) (*space, func()) {
	md, _ := metadata.FromIncomingContext(ctx)
	c.mu.Lock()
	return c.in(md.Get("containerd-namespace")[0]), c.mu.Unlock
}

func notFound(what string) error { return status.Error(codes.NotFound, what+" not found") }

func (c *fakeContainerd) Info(ctx context.Context, r *contentapi.InfoRequest) (*contentapi.InfoResponse, error) {
	s, unlock := c.of(ctx)
	defer unlock()
	raw, has := s.blobs[r.Digest]
	if !has {
		return nil, notFound(r.Digest)
	}
	return &contentapi.InfoResponse{Info: &contentapi.Info{Digest: r.Digest, Size: int64(len(raw)), Labels: s.labels[r.Digest]}}, nil
}

func (c *fakeContainerd) Update(ctx context.Context, r *contentapi.UpdateRequest) (*contentapi.UpdateResponse, error) {
	s, unlock := c.of(ctx)
	defer unlock()
	labels := map[string]string{}
	for key, value := range s.labels[r.Info.Digest] {
		labels[key] = value
	}
	for key, value := range r.Info.Labels {
		labels[key] = value
	}
	s.labels[r.Info.Digest] = labels
	return &contentapi.UpdateResponse{Info: r.Info}, nil
}

func (c *fakeContainerd) Read(r *contentapi.ReadContentRequest, stream contentapi.Content_ReadServer) error {
	s, unlock := c.of(stream.Context())
	raw := s.blobs[r.Digest]
	unlock()
	end := int64(len(raw))
	if r.Size > 0 {
		end = min(end, r.Offset+r.Size)
	}
	return stream.Send(&contentapi.ReadContentResponse{Offset: r.Offset, Data: raw[min(r.Offset, end):end]})
}

func (c *fakeContainerd) Abort(context.Context, *contentapi.AbortRequest) (*emptypb.Empty, error) {
	return nil, notFound("ingest")
}

func (c *fakeContainerd) Write(stream contentapi.Content_WriteServer) error {
	var raw []byte
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s, unlock := c.of(stream.Context())
		_, has := s.blobs[r.Expected]
		switch {
		case has:
			unlock()
			return status.Error(codes.AlreadyExists, "already exists")
		case r.Action == contentapi.WriteAction_COMMIT && digest.FromBytes(raw).String() != r.Expected:
			unlock()
			return status.Error(codes.FailedPrecondition, "unexpected commit digest")
		case r.Action == contentapi.WriteAction_COMMIT:
			s.blobs[r.Expected], s.labels[r.Expected] = raw, r.Labels
			c.written++
		default:
			raw = append(raw, r.Data...)
		}
		unlock()
		if err := stream.Send(&contentapi.WriteContentResponse{Action: r.Action, Offset: int64(len(raw)), Digest: r.Expected}); err != nil {
			return err
		}
	}
}

func (c fakeImages) Get(ctx context.Context, r *imagesapi.GetImageRequest) (*imagesapi.GetImageResponse, error) {
	s, unlock := c.all.of(ctx)
	defer unlock()
	if s.images[r.Name] == nil {
		return nil, notFound(r.Name)
	}
	return &imagesapi.GetImageResponse{Image: s.images[r.Name]}, nil
}

func (c fakeImages) List(ctx context.Context, r *imagesapi.ListImagesRequest) (*imagesapi.ListImagesResponse, error) {
	s, unlock := c.all.of(ctx)
	defer unlock()
	var found []*imagesapi.Image
	for _, image := range s.images {
		if strings.HasSuffix(r.Filters[0], "=="+image.Target.Digest) {
			found = append(found, image)
		}
	}
	return &imagesapi.ListImagesResponse{Images: found}, nil
}

func (c fakeImages) Create(ctx context.Context, r *imagesapi.CreateImageRequest) (*imagesapi.CreateImageResponse, error) {
	s, unlock := c.all.of(ctx)
	defer unlock()
	if s.images[r.Image.Name] != nil {
		return nil, status.Error(codes.AlreadyExists, "already exists")
	}
	s.images[r.Image.Name] = r.Image
	return &imagesapi.CreateImageResponse{Image: r.Image}, nil
}

func (c fakeImages) Update(ctx context.Context, r *imagesapi.UpdateImageRequest) (*imagesapi.UpdateImageResponse, error) {
	s, unlock := c.all.of(ctx)
	defer unlock()
	s.images[r.Image.Name] = r.Image
	return &imagesapi.UpdateImageResponse{Image: r.Image}, nil
}

func (c fakeLeases) Create(ctx context.Context, r *leasesapi.CreateRequest) (*leasesapi.CreateResponse, error) {
	s, unlock := c.all.of(ctx)
	defer unlock()
	if s.leases[r.ID] != nil {
		return nil, status.Error(codes.AlreadyExists, "already exists")
	}
	s.leases[r.ID] = r.Labels
	return &leasesapi.CreateResponse{Lease: &leasesapi.Lease{ID: r.ID}}, nil
}

func (c fakeLeases) List(ctx context.Context, _ *leasesapi.ListRequest) (*leasesapi.ListResponse, error) {
	s, unlock := c.all.of(ctx)
	defer unlock()
	said := &leasesapi.ListResponse{}
	for id, labels := range s.leases {
		said.Leases = append(said.Leases, &leasesapi.Lease{ID: id, Labels: labels})
	}
	return said, nil
}

func (c fakeLeases) Delete(ctx context.Context, r *leasesapi.DeleteRequest) (*emptypb.Empty, error) {
	s, unlock := c.all.of(ctx)
	defer unlock()
	delete(s.leases, r.ID)
	return &emptypb.Empty{}, nil
}

func (c fakeLeases) AddResource(context.Context, *leasesapi.AddResourceRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (c fakeSnapshots) Stat(ctx context.Context, r *snapshotsapi.StatSnapshotRequest) (*snapshotsapi.StatSnapshotResponse, error) {
	s, unlock := c.all.of(ctx)
	defer unlock()
	if !s.snapshots[r.Key] {
		return nil, notFound(r.Key)
	}
	return &snapshotsapi.StatSnapshotResponse{}, nil
}

func (c fakeSnapshots) Prepare(ctx context.Context, r *snapshotsapi.PrepareSnapshotRequest) (*snapshotsapi.PrepareSnapshotResponse, error) {
	s, unlock := c.all.of(ctx)
	defer unlock()
	s.snapshots[r.Key] = true
	return &snapshotsapi.PrepareSnapshotResponse{}, nil
}

func (c fakeSnapshots) Commit(ctx context.Context, r *snapshotsapi.CommitSnapshotRequest) (*emptypb.Empty, error) {
	s, unlock := c.all.of(ctx)
	defer unlock()
	delete(s.snapshots, r.Key)
	s.snapshots[r.Name] = true
	return &emptypb.Empty{}, nil
}

func (c fakeSnapshots) Remove(ctx context.Context, r *snapshotsapi.RemoveSnapshotRequest) (*emptypb.Empty, error) {
	s, unlock := c.all.of(ctx)
	defer unlock()
	delete(s.snapshots, r.Key)
	return &emptypb.Empty{}, nil
}

// Apply takes every blob as a tar that is not compressed.
func (c fakeDiff) Apply(ctx context.Context, r *diffapi.ApplyRequest) (*diffapi.ApplyResponse, error) {
	s, unlock := c.all.of(ctx)
	defer unlock()
	return &diffapi.ApplyResponse{Applied: &types.Descriptor{Digest: digest.FromBytes(s.blobs[r.Diff.Digest]).String()}}, nil
}

func (fakeIntrospection) Plugins(context.Context, *introspectionapi.PluginsRequest) (*introspectionapi.PluginsResponse, error) {
	return &introspectionapi.PluginsResponse{Plugins: []*introspectionapi.Plugin{
		{Type: "io.containerd.snapshotter.v1", ID: "overlayzfs"}, {Type: "io.containerd.content.v1", Exports: map[string]string{"root": "/"}},
	}}, nil
}
