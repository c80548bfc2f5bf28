# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of mremap(), shared memory and memory policies themselves, on a kernel that has the series.

They were written without a look at the cases, none of which noticed them at first.
"""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant, in_mremap, in_shmem

MADVISE, MEMPOLICY = "mm/madvise.c", "mm/mempolicy.c"

# What several of them change, as the kernel has it.
COPIED = "\tif (unlikely(err)) {\n\t\t/*\n\t\t * On error, move"
UNMAP_END = "\t\tloff_t unmap_end = round_down(offset + len, PAGE_SIZE) - 1;"
CUT = "\t\tif (oldsize > holebegin)\n\t\t\tunmap_mapping_range(inode->i_mapping,\n\t\t\t\t\t    holebegin, 0, 1);\n"
TRUNCATE = (
    "\t\tif (info->alloced)\n\t\t\tshmem_truncate_range(inode, newsize, (loff_t)-1);\n"
    "\t\t/* unmap again to remove racily COWed private pages */\n"
)
ZAP = "\tzap_page_range_single(vma, start, end - start, NULL);\n"
PUNCH_LAST = (
    "\tif ((vma->vm_flags & VM_SHARED) && vma->vm_file && end - start > PAGE_SIZE)\n"
    "\t\tvfs_fallocate(vma->vm_file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,\n"
    "\t\t\t      (loff_t)(end - PAGE_SIZE - vma->vm_start) +\n"
    "\t\t\t      ((loff_t)vma->vm_pgoff << PAGE_SHIFT), PAGE_SIZE);\n"
)
MOVABLE = "\tif ((flags & MPOL_MF_MOVE_ALL) || !folio_likely_mapped_shared(folio)) {"


def _policy(old: str, new: str) -> tuple[Edit, ...]:
    return (Edit(file=MEMPOLICY, old=old, new=new),)


def _moved(new: str) -> tuple[Edit, ...]:
    """With something more once a mapping has been copied to its new place, or duplicated."""
    return in_mremap(COPIED, new + COPIED)


AROUND_IT = (
    Mutant(
        name="locked-in-place-uncounted",
        breaks="growth in place of locked memory does not count to what is locked",
        edits=in_mremap("\t\t\t\tmm->locked_vm += pages;\n", ""),
        kills=("limits.c07_counted_as_locked",),
    ),
    Mutant(
        name="locked-in-place-elsewhere",
        breaks="growth in place of locked memory is populated a page too low",
        edits=in_mremap("\t\t\t\tnew_addr = addr;\n", "\t\t\t\tnew_addr = addr - PAGE_SIZE;\n"),
        kills=("interfaces.g09_locked_growth_populated",),
    ),
    Mutant(
        name="locked-duplicates-unpopulated",
        breaks="a duplicate of locked memory is not populated",
        edits=in_mremap("\tif (locked && new_len > old_len)\n", "\tif (locked && old_len && new_len > old_len)\n"),
        kills=("interfaces.g09_locked_growth_populated",),
    ),
    Mutant(
        name="moved-is-inherited",
        breaks="a move forgets MADV_DONTFORK",
        edits=_moved("\tif (vm_flags & VM_SHARED)\n\t\tvm_flags_clear(new_vma, VM_DONTCOPY);\n"),
        kills=("interfaces.g15_maps",),
    ),
    Mutant(
        name="moved-is-dumped",
        breaks="a move forgets MADV_DONTDUMP",
        edits=_moved("\tif (vm_flags & VM_SHARED)\n\t\tvm_flags_clear(new_vma, VM_DONTDUMP);\n"),
        kills=("interfaces.g15_maps",),
    ),
    Mutant(
        name="moved-is-writable",
        breaks="what mprotect() made read-only is writable after a move",
        edits=_moved(
            "\tif ((vm_flags & VM_SHARED) && (vm_flags & VM_MAYWRITE)) {\n"
            "\t\tvm_flags_set(new_vma, VM_WRITE);\n\t\tvma_set_page_prot(new_vma);\n\t}\n"
        ),
        kills=("interfaces.g15_maps",),
    ),
    Mutant(
        name="moved-unreported",
        breaks="userfaultfd is not told that a mapping has moved",
        edits=in_mremap("\t\tmremap_userfaultfd_prep(new_vma, uf);\n", ""),
        kills=("interfaces.g30_uffd_before_growth",),
    ),
    Mutant(
        name="duplicate-resets-the-policy",
        breaks="a duplicate takes the memory policy off the object",
        edits=_moved(
            "\tif (!old_len && new_vma->vm_ops && new_vma->vm_ops->set_policy)\n"
            "\t\tnew_vma->vm_ops->set_policy(new_vma, NULL);\n"
        ),
        kills=("numa_policy.e03_mbind_after_growth",),
    ),
    Mutant(
        name="unaligned-old-length",
        breaks="the old length is rounded down",
        edits=in_mremap("\told_len = PAGE_ALIGN(old_len);\n\tnew_len", "\told_len = old_len & PAGE_MASK;\n\tnew_len"),
        kills=("expand.a08_grow_by_a_byte",),
    ),
    Mutant(
        name="moved-is-clean",
        breaks="what has moved is not soft-dirty",
        edits=in_mremap("\t\tpte = pte_mksoft_dirty(pte);", "\t\tpte = pte_clear_soft_dirty(pte);"),
        kills=("interfaces.g35_soft_dirty",),
    ),
    Mutant(
        name="no-new-length",
        breaks="a new length of zero unmaps",
        edits=in_mremap("\tif (!new_len)\n\t\treturn ret;\n\n\tif (mmap_write", "\tif (mmap_write"),
        kills=("limits.c19_bad_target",),
    ),
    Mutant(
        name="fixed-alone",
        breaks="MREMAP_FIXED does not need MREMAP_MAYMOVE",
        edits=in_mremap("\tif (flags & MREMAP_FIXED && !(flags & MREMAP_MAYMOVE))\n\t\treturn ret;\n", ""),
        kills=("limits.c19_bad_target",),
    ),
    Mutant(
        name="tail-stays",
        breaks="a shrinking move leaves the tail of the old mapping",
        edits=in_mremap(
            "\t\tret = do_munmap(mm, addr+new_len, old_len - new_len, uf_unmap);\n"
            "\t\tif (ret)\n\t\t\tgoto out;\n\t\told_len = new_len;",
            "\t\told_len = new_len;",
        ),
        kills=("expand.a12_shrink_regrow",),
    ),
    Mutant(
        name="duplicate-past-the-limit",
        breaks="a duplicate does not count against RLIMIT_AS",
        edits=in_mremap("\tif (!may_expand_vm(mm, vma->vm_f", "\tif (old_len && !may_expand_vm(mm, vma->vm_f"),
        kills=("limits.c06_childs_rlimit_as",),
    ),
    Mutant(
        name="left-behind-past-the-limit",
        breaks="what MREMAP_DONTUNMAP leaves behind does not count against RLIMIT_AS",
        edits=in_mremap("\tif (flags & MREMAP_DONTUNMAP &&\n\t\t!may_expand", "\tif (0 &&\n\t\t!may_expand"),
        kills=("limits.c06_childs_rlimit_as",),
    ),
    Mutant(
        name="third-mapping-uncounted",
        breaks="a SysV segment counts no more than two of its mappings",
        edits=(
            Edit(
                file="ipc/shm.c",
                old="\tshp->shm_nattch++;\n\tshm_unlock(shp);\n\treturn 0;",
                new="\tshp->shm_nattch += shp->shm_nattch < 2;\n\tshm_unlock(shp);\n\treturn 0;",
            ),
        ),
        kills=("guards.i03_sysv",),
    ),
    Mutant(
        name="unpaid-page-is-oom",
        breaks="a page of MAP_NORESERVE memory that cannot be paid for is VM_FAULT_OOM",
        edits=in_shmem(
            "\tint err = -ENOSPC;\n\n\tif (shmem_acct_blocks", "\tint err = -ENOMEM;\n\n\tif (shmem_acct_blocks"
        ),
        kills=("limits.c11_no_fault_oom",),
    ),
    Mutant(
        name="left-behind-is-locked",
        breaks="what MREMAP_DONTUNMAP leaves behind is locked still",
        edits=in_mremap("\t\tvm_flags_clear(vma, VM_LOCKED_MASK);\n", ""),
        kills=("limits.c07_counted_as_locked",),
    ),
    Mutant(
        name="populated-a-page-short",
        breaks="MADV_POPULATE_WRITE leaves out the last of more than four pages",
        edits=(
            Edit(
                file=MADVISE,
                old="faultin_page_range(mm, start, end, write, &locked);",
                new="faultin_page_range(mm, start, end - start > 4 * PAGE_SIZE ? end - PAGE_SIZE : end,\n"
                "\t\t\t\t\t   write, &locked);\n"
                "\t\tif (pages > 0 && start + pages * PAGE_SIZE == end - PAGE_SIZE)\n\t\t\tpages++;",
            ),
        ),
        kills=("interfaces.g07_populate_write",),
    ),
    Mutant(
        name="child-has-it-locked",
        breaks="a child inherits that shared memory is locked",
        edits=(
            Edit(
                file="kernel/fork.c",
                old="\t\tvm_flags_clear(tmp, VM_LOCKED_MASK);",
                new="\t\tif (!(tmp->vm_flags & VM_SHARED))\n\t\t\tvm_flags_clear(tmp, VM_LOCKED_MASK);",
            ),
        ),
        kills=("limits.c07_counted_as_locked",),
    ),
    Mutant(
        name="hole-a-page-short",
        breaks="a hole of more than four pages is punched a page too short",
        edits=in_shmem(UNMAP_END, f"{UNMAP_END}\n\t\tif (len > 4 * PAGE_SIZE)\n\t\t\tlen -= PAGE_SIZE;"),
        kills=("interfaces.g12_sync_and_advise",),
    ),
    Mutant(
        name="copies-outlive-truncation",
        breaks="truncation leaves what private mappings have copied",
        edits=in_shmem(f"{CUT}{TRUNCATE}{CUT}", TRUNCATE),
        kills=("interfaces.g24_private_view",),
    ),
    Mutant(
        name="dontneed-drops",
        breaks="MADV_DONTNEED of shared memory removes its last page",
        edits=(Edit(file=MADVISE, old=ZAP, new=f"{ZAP}{PUNCH_LAST}"),),
        kills=("interfaces.g12_sync_and_advise",),
    ),
    Mutant(
        name="removed-by-a-reader",
        breaks="MADV_REMOVE works through a mapping that can never be written",
        edits=(Edit(file=MADVISE, old="\tif (!vma_is_shared_maywrite(vma))\n\t\treturn -EACCES;\n\n", new=""),),
        kills=("views.m02_never_writable",),
    ),
)

POLICIES = (
    Mutant(
        name="preferred-many-is-bind",
        breaks="MPOL_PREFERRED_MANY allows no other node",
        edits=_policy(
            "\tif (pol->mode == MPOL_PREFERRED_MANY)\n"
            "\t\treturn alloc_pages_preferred_many(gfp, order, nid, nodemask);\n",
            "",
        ),
        kills=("numa_policy.e13_preferring_a_full_node",),
    ),
    Mutant(
        name="preferred-many-has-no-home",
        breaks="MPOL_PREFERRED_MANY ignores the home node",
        edits=_policy(
            "\t\tif (pol->home_node != NUMA_NO_NODE)\n\t\t\t*nid = pol->home_node;\n\t\tbreak;\n\tcase MPOL_BIND:",
            "\t\tbreak;\n\tcase MPOL_BIND:",
        ),
        kills=("numa_table.p02_shared__range_home_node",),
    ),
    Mutant(
        name="moves-what-others-map",
        breaks="MPOL_MF_MOVE moves pages that other processes have mapped",
        edits=_policy(MOVABLE, "\tif (1) {"),
        kills=("numa_policy.e10_move_shared_pages",),
    ),
    Mutant(
        name="move-all-moves-own",
        breaks="MPOL_MF_MOVE_ALL leaves pages that other processes have mapped",
        edits=_policy(MOVABLE, MOVABLE.replace("(flags & MPOL_MF_MOVE_ALL) || ", "")),
        kills=("numa_policy.e10_move_shared_pages",),
    ),
    Mutant(
        name="relative-is-absolute",
        breaks="MPOL_F_RELATIVE_NODES is ignored",
        edits=_policy(
            "\tif (pol->flags & MPOL_F_RELATIVE_NODES)\n"
            "\t\tmpol_relative_nodemask(&nsc->mask2, nodes, &nsc->mask1);\n\telse\n",
            "",
        ),
        kills=("numa_policy.e12_cpuset",),
    ),
    Mutant(
        name="static-is-remapped",
        breaks="MPOL_F_STATIC_NODES is ignored when the cpuset changes",
        edits=_policy(
            "\tif (pol->flags & MPOL_F_STATIC_NODES)\n\t\tnodes_and(tmp, pol->w.user_nodemask, *nodes);\n\telse if",
            "\tif",
        ),
        kills=("numa_policy.e12_cpuset",),
    ),
    Mutant(
        name="task-stays-behind",
        breaks="a task's policy does not follow its cpuset",
        edits=_policy("{\n\tmpol_rebind_policy(tsk->mempolicy, new);\n}", "{\n}"),
        kills=("numa_policy.e12_cpuset",),
    ),
    Mutant(
        name="policy-takes-its-neighbour",
        breaks="the policy of a range takes all of the one whose beginning it covers",
        edits=_policy(
            "\t\t\tif (n->end <= end)\n\t\t\t\tsp_delete(sp, n);\n\t\t\telse\n\t\t\t\tn->start = end;",
            "\t\t\tsp_delete(sp, n);",
        ),
        kills=("numa_policy.e02_new_part_has_no_policy",),
    ),
    Mutant(
        name="policy-of-a-hole",
        breaks="mbind() over a hole works",
        edits=_policy("\t\t/* hole at middle or tail of range */\n\t\treturn -EFAULT;", "\t\treturn 0;"),
        kills=("numa_policy.e03_mbind_after_growth",),
    ),
    Mutant(
        name="child-loses-the-range",
        breaks="a child's mappings have no policy of their own",
        edits=(
            Edit(
                file="kernel/fork.c",
                old="\t\tretval = vma_dup_policy(mpnt, tmp);\n",
                new="\t\tretval = 0;\n\t\ttmp->vm_policy = NULL;\n",
            ),
        ),
        kills=("numa_policy.e03_other_mappings",),
    ),
    Mutant(
        name="local-is-the-first",
        breaks="MPOL_LOCAL takes the first node",
        edits=_policy(
            "\tnodemask_t *nodemask = NULL;\n\n\tswitch (pol->mode) {\n",
            "\tnodemask_t *nodemask = NULL;\n\n\tif (pol->mode == MPOL_LOCAL && pol != &default_policy)\n"
            "\t\t*nid = 0;\n\tswitch (pol->mode) {\n",
        ),
        kills=("numa_policy.e01_new_part_by_task_policy",),
    ),
    Mutant(
        name="default-keeps-the-policy",
        breaks="MPOL_DEFAULT does not take a range's policy off shared memory",
        edits=_policy(
            "\tif (pol) {\n\t\tnew = sp_alloc(", "\tif (!pol)\n\t\treturn 0;\n\tif (pol) {\n\t\tnew = sp_alloc("
        ),
        kills=("numa_policy.e02_new_part_has_no_policy",),
    ),
    Mutant(
        name="node-of-the-policy",
        breaks="get_mempolicy() of a page has the policy's node and not the page's",
        edits=_policy(
            "\t\t\t*policy = err;\n",
            "\t\t\t*policy = nodes_empty(pol->nodes) ? err : first_node(pol->nodes);\n",
        ),
        kills=("numa_policy.e10_move_shared_pages",),
    ),
)
