#include "runtime/cuda/CublasLt.h"
#include "runtime/core/Status.h"

#include <algorithm>
#include <cmath>
#include <cublasLt.h>
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <map>
#include <mutex>
#include <sstream>
#include <tuple>
#include <vector>

namespace megacc::runtime {

namespace {

constexpr uint32_t operand_alignment = 64;

/// The functions that we call.
struct Library {
#define FUNCTIONS(each)                                                                                                                    \
  each(cublasLtCreate) each(cublasLtMatmul) each(cublasLtMatmulAlgoGetHeuristic) each(cublasLtMatmulDescCreate)                            \
      each(cublasLtMatmulDescDestroy) each(cublasLtMatmulDescSetAttribute) each(cublasLtMatrixLayoutCreate)                                \
          each(cublasLtMatrixLayoutDestroy) each(cublasLtMatmulPreferenceCreate) each(cublasLtMatmulPreferenceDestroy)                     \
              each(cublasLtMatmulPreferenceSetAttribute) each(cublasLtGetStatusString) each(cublasLtGetVersion)
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

/// What an algorithm is chosen for.
struct Key {
  MatrixProduct product;
  bool adds;

  bool operator<(const Key &other) const { return tie() < other.tie(); }
  std::tuple<int64_t, int64_t, int64_t, bool, bool, int, bool> tie() const {
    const MatrixProduct &p = product;
    return {p.m, p.n, p.k, p.transpose_a, p.transpose_b, int(p.d_type), adds};
  }
};

/// Microseconds are known after a calibration alone.
struct Choice {
  cublasLtMatmulAlgo_t algorithm;
  double microseconds = 0, first_microseconds = 0;
};

/// What is kept for the one card that a process uses.
struct State {
  std::mutex mutex;
  Library library;
  cublasLtHandle_t handle = nullptr;
  bool calibrating = false;
  std::map<Key, Choice> choices;
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

/// Everything of one product that a call of the library takes.
struct Call {
  const Library &library;
  cublasLtHandle_t handle;
  const Descriptors &descriptors;
  const void *a, *b, *c;
  void *d, *workspace;
  cudaStream_t stream;

  cublasStatus_t run(const cublasLtMatmulAlgo_t &algorithm) const {
    const float alpha = 1.0f, beta = c ? 1.0f : 0.0f;
    return library.cublasLtMatmul(handle, descriptors.operation, &alpha, b, descriptors.first, a, descriptors.second, &beta, c ? c : d,
                                  descriptors.result, d, descriptors.result, &algorithm, workspace, cublas_workspace_bytes, stream);
  }

  /// The heuristic's answers, best first, at most `most`.
  cublasStatus_t askHeuristic(int most, std::vector<cublasLtMatmulAlgo_t> &algorithms) const {
    std::vector<cublasLtMatmulHeuristicResult_t> answers(most);
    int count = 0;
    cublasStatus_t status =
        library.cublasLtMatmulAlgoGetHeuristic(handle, descriptors.operation, descriptors.first, descriptors.second, descriptors.result,
                                               descriptors.result, descriptors.preference, most, answers.data(), &count);
    for (int i = 0; i < count; ++i)
      if (answers[i].state == CUBLAS_STATUS_SUCCESS)
        algorithms.push_back(answers[i].algo);
    return status ? status : algorithms.empty() ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
  }

  /// Median microseconds of each algorithm, infinite where it fails. They take turns: a card that has just worked is warmer and slower.
  std::vector<double> time(const std::vector<cublasLtMatmulAlgo_t> &algorithms) const {
    constexpr int rounds = 9;
    std::vector<std::vector<double>> times(algorithms.size());
    std::vector<bool> works(algorithms.size(), true);
    cudaEvent_t begin, end;
    cudaEventCreate(&begin), cudaEventCreate(&end);
    for (int round = -1; round < rounds; ++round) // one to load code
      for (size_t i = 0; i < algorithms.size(); ++i) {
        if (!works[i])
          continue;
        float milliseconds = 0;
        cudaEventRecord(begin, stream);
        works[i] = run(algorithms[i]) == CUBLAS_STATUS_SUCCESS;
        cudaEventRecord(end, stream);
        works[i] = cudaEventSynchronize(end) == cudaSuccess && cudaEventElapsedTime(&milliseconds, begin, end) == cudaSuccess && works[i];
        if (round >= 0)
          times[i].push_back(1e3 * double(milliseconds));
      }
    cudaEventDestroy(begin), cudaEventDestroy(end);
    std::vector<double> medians;
    for (size_t i = 0; i < algorithms.size(); ++i) {
      std::sort(times[i].begin(), times[i].end());
      medians.push_back(works[i] ? times[i][times[i].size() / 2] : INFINITY);
    }
    return medians;
  }

  /// The heuristic's first answer; while calibrating the fastest of its answers, where it beats the first by more than noise.
  cublasStatus_t choose(bool calibrating, Choice &choice) const {
    constexpr double gain = 0.98;
    std::vector<cublasLtMatmulAlgo_t> algorithms;
    if (cublasStatus_t status = askHeuristic(calibrating ? 16 : 1, algorithms))
      return status;
    choice.algorithm = algorithms.front();
    if (!calibrating)
      return CUBLAS_STATUS_SUCCESS;
    std::vector<double> times = time(algorithms);
    size_t best = size_t(std::min_element(times.begin(), times.end()) - times.begin());
    choice.first_microseconds = times.front();
    if (times[best] > gain * times.front())
      best = 0;
    choice.algorithm = algorithms[best], choice.microseconds = times[best];
    return CUBLAS_STATUS_SUCCESS;
  }
};

/// Opens the library and makes its handle. Returns 0, or records an error.
int32_t openLibrary(State &shared) {
  if (shared.handle)
    return 0;
  if (const char *missing = shared.library.open())
    return mg_fail("%s; fix: install cuBLAS 13, or put its folder into LD_LIBRARY_PATH", missing);
  if (cublasStatus_t status = shared.library.cublasLtCreate(&shared.handle))
    return mg_fail("cublasLtCreate: %s", shared.library.cublasLtGetStatusString(status));
  return 0;
}

/// What choices hold for.
std::string describeMachine(const Library &library) {
  cudaDeviceProp card;
  int driver = 0, device = 0;
  if (cudaGetDevice(&device) != cudaSuccess || cudaGetDeviceProperties(&card, device) != cudaSuccess ||
      cudaDriverGetVersion(&driver) != cudaSuccess)
    return "no card";
  return std::string(card.name) + ", driver " + std::to_string(driver) + ", cuBLASLt " + std::to_string(library.cublasLtGetVersion());
}

} // namespace

int32_t multiplyMatrices(const MgLaunch *launch, const MatrixProduct &product, const void *a, const void *b, const void *c, void *d,
                         void *workspace) {
  State &shared = state();
  std::lock_guard lock(shared.mutex);
  if (int32_t status = openLibrary(shared))
    return status;
  auto fail = [&](const char *what, cublasStatus_t status) {
    return mg_fail("%s: %s for a product of %lld x %lld x %lld", what, shared.library.cublasLtGetStatusString(status), (long long)product.m,
                   (long long)product.n, (long long)product.k);
  };
  Descriptors descriptors(shared.library);
  if (cublasStatus_t status = descriptors.create(product))
    return fail("cuBLASLt's descriptors", status);
  Call call = {shared.library,
               shared.handle,
               descriptors,
               a,
               b,
               c,
               d,
               workspace,
               static_cast<cudaStream_t>(launch->context->streams[launch->stream])};
  const Key key = {product, c != nullptr};
  auto found = shared.choices.find(key);
  if (found == shared.choices.end()) {
    Choice choice;
    if (cublasStatus_t status = call.choose(shared.calibrating, choice))
      return fail("cublasLtMatmulAlgoGetHeuristic", status);
    found = shared.choices.emplace(key, choice).first;
  }
  cublasStatus_t status = call.run(found->second.algorithm);
  return status ? fail("cublasLtMatmul", status) : 0;
}

void calibrateProducts() {
  std::lock_guard lock(state().mutex);
  state().calibrating = true;
}

std::string describeProductChoices() {
  State &shared = state();
  std::lock_guard lock(shared.mutex);
  if (!shared.handle)
    return "";
  std::ostringstream text;
  text << describeMachine(shared.library) << "\n";
  for (const auto &[key, choice] : shared.choices) {
    const MatrixProduct &p = key.product;
    text << "product " << p.m << " " << p.n << " " << p.k << " " << p.transpose_a << p.transpose_b << " "
         << (p.d_type == MG_F32 ? "f32" : "bf16") << " " << (key.adds ? "added" : "written") << std::hex;
    for (uint64_t word : choice.algorithm.data)
      text << " " << word;
    text << std::dec << " us " << choice.microseconds << " first " << choice.first_microseconds << "\n";
  }
  return text.str();
}

int32_t setProductChoices(const char *text) {
  State &shared = state();
  std::lock_guard lock(shared.mutex);
  if (int32_t status = openLibrary(shared))
    return status;
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  if (std::string here = describeMachine(shared.library); line != here)
    return mg_fail("the choices are for \"%s\", this is \"%s\"; fix: --calibrate here", line.c_str(), here.c_str());
  std::map<Key, Choice> choices;
  while (std::getline(lines, line)) {
    Key key = {};
    Choice choice = {};
    std::istringstream words(line);
    std::string product, transposed, type, adds;
    MatrixProduct &p = key.product;
    words >> product >> p.m >> p.n >> p.k >> transposed >> type >> adds >> std::hex;
    for (uint64_t &word : choice.algorithm.data)
      words >> word;
    if (!words || product != "product" || transposed.size() != 2 || (type != "f32" && type != "bf16"))
      return mg_fail("\"%s\" is not the choice of a product; fix: --calibrate again", line.c_str());
    p.transpose_a = transposed[0] == '1', p.transpose_b = transposed[1] == '1';
    p.d_type = type == "f32" ? MG_F32 : MG_BF16, key.adds = adds == "added";
    choices[key] = choice;
  }
  shared.choices = std::move(choices);
  return 0;
}

} // namespace megacc::runtime
