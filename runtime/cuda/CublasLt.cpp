#include "runtime/cuda/CublasLt.h"
#include "runtime/core/Status.h"

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <map>
#include <mutex>
#include <tuple>

namespace megacc::runtime {

namespace {

constexpr uint32_t operand_alignment = 64;

/// The functions that we call.
struct Library {
#define FUNCTIONS(each)                                                                                                                    \
  each(cublasLtCreate) each(cublasLtMatmul) each(cublasLtMatmulAlgoGetHeuristic) each(cublasLtMatmulDescCreate)                            \
      each(cublasLtMatmulDescDestroy) each(cublasLtMatmulDescSetAttribute) each(cublasLtMatrixLayoutCreate)                                \
          each(cublasLtMatrixLayoutDestroy) each(cublasLtMatmulPreferenceCreate) each(cublasLtMatmulPreferenceDestroy)                     \
              each(cublasLtMatmulPreferenceSetAttribute) each(cublasLtGetStatusString)
#define MEMBER(name) decltype(&::name) name = nullptr;
  FUNCTIONS(MEMBER)
#undef MEMBER

  /// What is missing, or nullptr.
  const char *open() {
    void *handle = dlopen("libcublasLt.so.13", RTLD_NOW | RTLD_LOCAL);
    if (!handle)
      return dlerror();
#define FIND(name)                                                                                                                         \
  if (name = reinterpret_cast<decltype(name)>(dlsym(handle, #name)); !name)                                                                \
    return "libcublasLt.so.13 lacks " #name;
    FUNCTIONS(FIND)
#undef FIND
    return nullptr;
  }
#undef FUNCTIONS
};

/// Opened once; handles and algorithms are kept a device.
struct State {
  std::mutex mutex;
  Library library;
  bool opened = false;
  std::map<int, cublasLtHandle_t> handles;
  std::map<std::pair<int, MatrixProduct>, cublasLtMatmulAlgo_t> algorithms;
};

State &state() {
  static State instance;
  return instance;
}

/// Descriptors of one product. The library's matrices are column-major, so it is given d^T = b^T a^T.
class Descriptors {
public:
  explicit Descriptors(const Library &library) : library(library) {}
  ~Descriptors() {
    for (cublasLtMatrixLayout_t layout : {first, second, result})
      if (layout)
        library.cublasLtMatrixLayoutDestroy(layout);
    if (preference)
      library.cublasLtMatmulPreferenceDestroy(preference);
    if (operation)
      library.cublasLtMatmulDescDestroy(operation);
  }

  cublasStatus_t create(const MatrixProduct &p) {
    cublasOperation_t first_operation = p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                      second_operation = p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    cudaDataType type = p.d_type == MG_F32 ? CUDA_R_32F : CUDA_R_16BF;
    uint64_t workspace = cublas_workspace_bytes;
    auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto &value) {
      return library.cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value);
    };
    cublasStatus_t status;
    // In order, until one fails.
    (void)((status = library.cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F)) ||
           (status =
                library.cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &first_operation, sizeof first_operation)) ||
           (status = library.cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSB, &second_operation,
                                                            sizeof second_operation)) ||
           (status = layOut(&first, CUDA_R_16BF, p.n, p.k, p.transpose_b)) ||
           (status = layOut(&second, CUDA_R_16BF, p.k, p.m, p.transpose_a)) || (status = layOut(&result, type, p.n, p.m, false)) ||
           (status = library.cublasLtMatmulPreferenceCreate(&preference)) ||
           (status = prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace)) ||
           (status = prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, operand_alignment)) ||
           (status = prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, operand_alignment)) ||
           (status = prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, operand_alignment)) ||
           (status = prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, operand_alignment)));
    return status;
  }

  const Library &library;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t first = nullptr, second = nullptr, result = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;

private:
  cublasStatus_t layOut(cublasLtMatrixLayout_t *layout, cudaDataType type, int64_t rows, int64_t cols, bool transposed) {
    return transposed ? library.cublasLtMatrixLayoutCreate(layout, type, cols, rows, cols)
                      : library.cublasLtMatrixLayoutCreate(layout, type, rows, cols, rows);
  }
};

} // namespace

bool MatrixProduct::operator<(const MatrixProduct &other) const {
  auto key = [](const MatrixProduct &p) { return std::make_tuple(p.m, p.n, p.k, p.transpose_a, p.transpose_b, int(p.d_type), p.add); };
  return key(*this) < key(other);
}

int32_t multiplyMatrices(const MgLaunch *launch, const MatrixProduct &product, const void *a, const void *b, void *d, void *workspace) {
  State &shared = state();
  std::lock_guard lock(shared.mutex);
  const Library &library = shared.library;
  if (!shared.opened) {
    if (const char *missing = shared.library.open())
      return mg_fail("%s; fix: install cuBLAS 13, or put its folder into LD_LIBRARY_PATH", missing);
    shared.opened = true;
  }
  auto fail = [&](const char *what, cublasStatus_t status) {
    return mg_fail("%s: %s for a product of %lld x %lld x %lld", what, library.cublasLtGetStatusString(status), (long long)product.m,
                   (long long)product.n, (long long)product.k);
  };
  int device = 0;
  if (cudaError_t error = cudaGetDevice(&device))
    return mg_fail("cudaGetDevice: %s", cudaGetErrorString(error));
  cublasLtHandle_t &handle = shared.handles[device];
  if (!handle)
    if (cublasStatus_t status = library.cublasLtCreate(&handle))
      return fail("cublasLtCreate", status);

  Descriptors descriptors(library);
  if (cublasStatus_t status = descriptors.create(product))
    return fail("cuBLASLt's descriptors", status);
  auto found = shared.algorithms.find({device, product});
  if (found == shared.algorithms.end()) {
    cublasLtMatmulHeuristicResult_t answer;
    int count = 0;
    cublasStatus_t status =
        library.cublasLtMatmulAlgoGetHeuristic(handle, descriptors.operation, descriptors.first, descriptors.second, descriptors.result,
                                               descriptors.result, descriptors.preference, 1, &answer, &count);
    if (status || count == 0)
      return fail("cublasLtMatmulAlgoGetHeuristic", status ? status : CUBLAS_STATUS_NOT_SUPPORTED);
    found = shared.algorithms.emplace(std::make_pair(device, product), answer.algo).first;
  }
  float alpha = 1.0f, beta = product.add ? 1.0f : 0.0f;
  cublasStatus_t status =
      library.cublasLtMatmul(handle, descriptors.operation, &alpha, b, descriptors.first, a, descriptors.second, &beta, d,
                             descriptors.result, d, descriptors.result, &found->second, workspace, cublas_workspace_bytes,
                             static_cast<cudaStream_t>(launch->context->streams[launch->stream]));
  return status ? fail("cublasLtMatmul", status) : 0;
}

} // namespace megacc::runtime
