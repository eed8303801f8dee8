package judge

import "strings"

// reasons say why targets are missed and what would be needed, by the beginning of the
// identifier of the row of ours. The longest beginning counts.
var reasons = map[string]string{
	"copyup.": "overlayfs makes a copy by a new file and a rename, and fsyncs it with sync=standard: one commit of the intent log, " +
		"which sync=disabled omits. What is left of the difference is that commit. Less needs an overlayfs that does not fsync, which " +
		"is what its mount option volatile does, and a container may not have.",
	"cycle": "Create ends with a commit of the intent log after its last rename, so that Docker's record of the layer is safe; overlay2's " +
		"fsyncs come before its last rename. In process, Create is 37 % of the time, Remove 24 %, Put 20 %, Get 19 %. The rest is the " +
		"socket: three calls, in each of which two processes take turns on one processor. A driver inside of dockerd would be needed.",
	"cycle.remove": "A removal ends with a commit of the intent log, which overlay2 omits: a power cut brings its layer back. The files are " +
		"deleted later. What is left is the unmount, one rename, that commit and one call through the socket. With sync=disabled there is " +
		"no log, so Remove waits for a transaction group, 10 ms where the commit takes 1 to 2; the engine forgets the layer at the answer.",
	"cycle.step": "A step is on disk when it ends, with all that was written, and overlay2's is not. That takes one commit of the " +
		"intent log in Create and two in Put, 70 % of Put's time; the second has the times of the step's files. " +
		"With sync=disabled there is no log, so Create and Put wait for a transaction group each, 10 ms where the commits take 1 to 3: " +
		"BuildKit records the layer after both. A commit of the log that ignores sync would be needed, which OpenZFS does not have. moby's zfs needs about 190 ms for a layer on this machine: 60 times " +
		"as fast is 3 ms, less than the socket and the mount take.",
	"build.": "Each of 20 steps is on disk when it ends, which overlay2's steps are not: one commit of the intent log in Create, two in Put. " +
		"A step also makes four calls through the socket, the classic builder's nine. With sync=disabled there is no log, so each step waits " +
		"for two transaction groups, the classic builder's for one and its container's removal for another. moby's zfs needs about a second for a step: 60 times as fast is 17 ms, and the steps' own files " +
		"take a third of that.",
	"remove": "The answer needs one rename and one commit of the log, and one call through the socket. Afterwards every file is " +
		"unlinked, as overlay2 does; ZFS has no faster way to delete a tree within a dataset.",
	"snapshot.cycle": "Both make two transactions of their records, with two commits of the intent log each: 32 % of our time in process. " +
		"Ours also commits the layer before Prepare answers (19 %), makes two more names for it, and moves it away at Remove (10 %); " +
		"containerd's overlayfs has no file for its parents and leaves the directory to its Cleanup. Both of ours would have to go: parents " +
		"only in the records, and a layer that a power cut may take after Prepare. The socket adds three gRPC calls, which a " +
		"snapshotter inside of containerd does not make.",
	"unpack.small": "Ours is on disk when Commit answers, and the row to the disk compares that. The peer syncs its records only.",
	"usage.": "Both walk the same files. Ours asks through the socket: one gRPC call, 0.5 ms on this machine, which is as much as the walk " +
		"of a small layer.",
	"apply.": "One processor: the threads that make files, and the engine that feeds the socket, take turns on it. In process, making files, " +
		"directories and links takes 40 %, the headers of the tar 24 %, the content 15 %. Through the socket the tar is copied three " +
		"times more, in pieces of 32 KB that moby's proxy chooses. Two processors would be needed, or a descriptor of the tar instead of its bytes.",
	"diff.": "One processor: the threads that read files, and the engine that empties the socket, take turns on it. Reading the files from " +
		"ZFS takes half of the time in process, opening them below their directory 11 %. Through the socket the tar is copied twice more; " +
		"a larger send buffer than the kernel's 208 KB did not help (see the tar of 2 GB).",
	"apply.large": "The 2 GB go through the socket in pieces of 32 KB that moby's proxy chooses: 65,000 times a write, a read and a change of " +
		"the process on one processor. A protocol that hands over a descriptor instead of bytes would be needed.",
	"diff.large": "The 2 GB go through the socket, whose buffer is the kernel's 208 KB: 10,000 times both processes take turns on one processor. " +
		"A larger buffer changes nothing here: 524 MB/s, with 1 MiB 489, with 4 MiB 506 (the socket alone, medians of five rounds). " +
		"A protocol that hands over a descriptor would end it.",
	"changes.": "The time is that of one call through the socket.",
	"diffsize.": "One call through the socket takes longer than the walk of a few files. In process the walk is compared: " +
		"it opens each directory below the one above it, as safety against links needs.",
	"engine.": "The runtime and dockerd itself are most of this row, for all contenders the same. The driver's calls through moby's proxy " +
		"are 3 % of docker run and 9 % of the classic build, by the plugin's metrics. Each is an HTTP request between two processes on one processor.",
	"engine.load": "By the plugin's metrics 71 % of the row is ApplyDiff, 3 % Create; the commits of the intent log in them, which overlay2 omits, " +
		"are 5 %. Three quarters of ApplyDiff in process are the files, which every driver makes: creating, writing, times. In its time dockerd reads and " +
		"hashes the tar and sends it through the socket, on the same processor: two processors, or a descriptor of the tar, would be needed.",
	"engine.three.commit": "By the plugin's metrics half of the row is the driver's calls: ApplyDiff 20 %, Diff 16 %, Get 7 %, Create 5 %, Put 2 %; the " +
		"commits of the intent log in them, which overlay2 omits, are 4 %. The other half is dockerd. A commit makes five calls and sends " +
		"its tar through the socket twice, which a driver inside of dockerd would not.",
	"engine.copyup": "The figure is the container's own: one new file, one rename and one commit of the intent log, where overlay2 waits for a " +
		"transaction group. On this machine's disk, which answers at once, a group takes 5 ms; on real disks the factor grows.",
	"engine.store.copyup": "The figure is the container's own: one new file, one rename and one commit of the intent log, where containerd's overlayfs " +
		"waits for a transaction group. On this machine's disk, which answers at once, a group takes 5 ms; on real disks the factor grows.",
	"engine.busy": "The writer takes its share of the one processor from both. A busy transaction group and the writer's throttle delay each " +
		"name that ZFS makes, for every driver; ours commits the log once a create, without the writer's data.",
	"engine.limit": "By the plugin's metrics three quarters of what a limit adds is in the driver's calls. In process a limit adds 26 ms to them: 13 are the " +
		"mount of a dataset that was made beforehand, 5 the look whether it is still there, 5 the transaction group in which it gets its " +
		"container's name, at the same time on the same processor. No call waits for a group. In the row the old dataset is destroyed and the " +
		"next one made, too. Spares that stay mounted would be needed.",
	"start.": "The start lists the store's names, and looks into the layers with a mark only.",
	"containers.": "A container is two layers of seven names, 32 KB of metadata in two copies, as overlay2's; a smaller dnode or fewer " +
		"names would be needed, and with them another layout than overlay2's.",
	"memory.": "Most of it is buffers of tars under way and the Go heap's spare half.",
	"cycles.": "Threads that mount are kept for the next mount, a few at most: the count does not grow with the lives of layers.",
}

// findReason returns the reason of a target.
func findReason(t Target) string {
	longest := ""
	for begin := range reasons {
		if strings.HasPrefix(t.Ours.Row, begin) && len(begin) > len(longest) {
			longest = begin
		}
	}
	return reasons[longest]
}
